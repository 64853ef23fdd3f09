"""What the writeback queue promises, tried without waiting: time is a number that the test moves."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.config import Clock, WritebackConfig
from pyruvllm.errors import ConfigError, MemoryStoreError, QuotaError
from pyruvllm.memory.writeback import WritebackQueue


class HandClock(Clock):
    """Stands still until it is moved. Ids count up."""

    def __init__(self, now_ms: int = 1_700_000_000_000):
        self.now = now_ms
        self.ids = 0

    def now_ms(self) -> int:
        return self.now

    def elapsed_ms(self) -> float:
        return float(self.now)

    def new_id(self) -> str:
        self.ids += 1
        return f"00000000-0000-4000-8000-{self.ids:012d}"


class Sink:
    """Where batches go. ``failures`` attempts raise: half of them after the rows were in, as a failing flush would."""

    def __init__(self) -> None:
        self.attempts: list[list[int]] = []
        self.batches: list[list[int]] = []  # acknowledged
        self.rows: dict[int, None] = {}  # in the order of arrival; writing a row again changes nothing
        self.failures = 0
        self.turns = 0  # of the loop that a write takes
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, items: list[int]) -> None:
        self.attempts.append(items)
        await self.open.wait()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            if self.failures % 2:
                self.rows.update(dict.fromkeys(items))
            raise QuotaError("the disk is full")
        self.rows.update(dict.fromkeys(items))
        self.batches.append(items)


async def settle() -> None:
    """Lets everything that is ready run."""
    for _ in range(12):
        await asyncio.sleep(0)


def build(batch: int = 100, wait_ms: int = 1000, bound: int = 10_000) -> tuple[WritebackQueue[int], Sink, HandClock]:
    sink, clock = Sink(), HandClock()
    return WritebackQueue(sink.write, WritebackConfig(batch, wait_ms, bound), clock), sink, clock


class WritebackContract:
    async def test_a_batch_waits_for_its_time_and_no_longer(self):
        queue, sink, clock = build()
        queue.put(1)
        clock.now += 999
        queue.put(2)
        queue.poke()
        await settle()
        assert sink.attempts == []
        clock.now += 1
        queue.poke()
        await settle()
        assert sink.batches == [[1, 2]]
        assert len(queue) == 0
        await queue.close()

    async def test_the_second_batch_is_timed_from_its_own_first_item(self):
        queue, sink, clock = build()
        queue.put(1)
        clock.now += 1000
        queue.poke()
        await settle()
        clock.now += 500
        queue.put(2)
        clock.now += 999
        queue.poke()
        await settle()
        assert sink.batches == [[1]]
        clock.now += 1
        queue.poke()
        await settle()
        assert sink.batches == [[1], [2]]
        await queue.close()

    async def test_a_full_batch_goes_at_once_and_the_rest_waits(self):
        queue, sink, _ = build()
        for item in range(205):
            assert queue.put(item)
        assert sink.attempts == []  # put never writes itself
        await settle()
        assert sink.batches == [list(range(100)), list(range(100, 200))]
        assert list(queue) == list(range(200, 205))
        await queue.close()
        assert sink.batches[2] == list(range(200, 205))

    async def test_the_timer_itself_wakes_the_queue(self):
        written = asyncio.Event()
        sizes = []

        async def write(items: list[int]) -> None:
            sizes.append(len(items))
            written.set()

        queue = WritebackQueue(write, WritebackConfig(wait_ms=5))
        queue.put(1)
        await asyncio.wait_for(written.wait(), 20)
        written.clear()
        queue.put(2)  # the timer is set anew after it has rung
        await asyncio.wait_for(written.wait(), 20)
        assert sizes == [1, 1]
        await queue.close()

    async def test_what_came_during_a_write_gets_its_timer_when_that_ends(self):
        gate, second = asyncio.Event(), asyncio.Event()

        async def write(items: list[int]) -> None:
            await gate.wait()
            if 2 in items:
                second.set()

        queue = WritebackQueue(write, WritebackConfig(wait_ms=5))
        queue.put(1)
        flushing = asyncio.ensure_future(queue.flush())
        await settle()
        queue.put(2)
        gate.set()
        await flushing
        await asyncio.wait_for(second.wait(), 20)
        await queue.close()

    async def test_flush_waits_for_everything_before_it_and_for_nothing_after(self):
        queue, sink, _ = build(batch=2)
        sink.open.clear()
        for item in range(5):
            queue.put(item)
        flushing = asyncio.ensure_future(queue.flush())
        await settle()
        for item in range(5, 50):
            queue.put(item)
        assert not flushing.done()
        seen = []
        flushing.add_done_callback(lambda _: seen.append(len(sink.rows)))
        sink.turns = 3
        sink.open.set()
        await flushing
        assert 5 <= seen[0] < 50, "the barrier was late: it waited for what came after it"
        await queue.close()
        assert list(sink.rows) == list(range(50))

    async def test_flush_of_an_empty_queue_writes_nothing(self):
        queue, sink, _ = build()
        await queue.flush()
        await queue.close()
        assert sink.attempts == []

    async def test_a_failing_write_keeps_the_batch_in_order_and_tries_again(self):
        queue, sink, clock = build()
        sink.failures = 1
        for item in range(3):
            queue.put(item)
        clock.now += 1000
        queue.poke()
        await settle()
        assert list(queue) == [0, 1, 2]
        assert isinstance(queue.error, QuotaError)
        assert "QuotaError" in queue.stats()["error"]
        queue.put(3)
        await settle()
        assert len(sink.attempts) == 1  # not again before its time
        clock.now += 1000
        queue.poke()
        await settle()
        assert sink.batches == [[0, 1, 2, 3]]
        assert queue.error is None
        await queue.close()

    async def test_retries_come_less_and_less_often_but_at_least_every_half_minute(self):
        queue, sink, clock = build()
        sink.failures = 40
        queue.put(1)
        times = []
        for _ in range(200):
            clock.now += 1000
            before = len(sink.attempts)
            queue.poke()
            await settle()
            if len(sink.attempts) > before:
                times.append(clock.now)
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        assert gaps[:6] == [1000, 2000, 4000, 8000, 16000, 30000]
        assert set(gaps[6:]) == {30000}
        sink.failures = 0
        await queue.close()

    async def test_a_full_queue_does_not_hammer_a_failing_write(self):
        queue, sink, _ = build(batch=2)
        sink.failures = 1000
        for item in range(100):
            queue.put(item)
            await settle()
        assert len(sink.attempts) == 1
        sink.failures = 0
        await queue.close()
        assert list(sink.rows) == list(range(100))

    async def test_flush_raises_what_the_write_raised_and_loses_nothing(self):
        queue, sink, _ = build()
        sink.failures = 1
        queue.put(1)
        queue.put(2)
        with pytest.raises(QuotaError, match="disk is full"):
            await queue.flush()
        assert list(queue) == [1, 2]
        await queue.flush()
        assert sink.batches == [[1, 2]]
        await queue.close()

    async def test_every_flush_that_waits_is_told(self):
        queue, sink, _ = build()
        sink.failures = 1
        queue.put(1)
        outcomes = await asyncio.gather(*(queue.flush() for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [QuotaError] * 3
        assert await asyncio.gather(*(queue.flush() for _ in range(3))) == [None] * 3
        await queue.close()

    async def test_a_cancelled_flush_stops_neither_the_write_nor_the_other_flush(self):
        queue, sink, _ = build()
        sink.open.clear()
        queue.put(1)
        first, second = asyncio.ensure_future(queue.flush()), asyncio.ensure_future(queue.flush())
        await settle()
        first.cancel()
        await settle()
        sink.open.set()
        await second
        assert first.cancelled()
        assert sink.attempts == [[1]]
        await queue.close()

    async def test_a_write_that_is_cancelled_keeps_its_items_and_leaves_nobody_waiting(self):
        queue, sink, _ = build()
        sink.open.clear()
        queue.put(1)
        flushing = asyncio.ensure_future(queue.flush())
        await settle()
        queue._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(flushing, 20)
        assert list(queue) == [1]
        sink.open.set()
        await asyncio.wait_for(queue.close(), 20)
        assert sink.batches == [[1]]

    async def test_what_is_put_while_a_batch_is_written_is_not_forgotten(self):
        queue, sink, clock = build()
        sink.open.clear()
        queue.put(1)
        clock.now += 1000
        queue.poke()
        await settle()
        queue.put(2)
        clock.now += 2000  # both the write and the wait of the second are over
        sink.open.set()
        await settle()
        assert sink.batches == [[1], [2]]
        await queue.close()

    async def test_beyond_the_bound_items_are_dropped_and_counted(self):
        queue, sink, _ = build(batch=2, bound=5)
        sink.open.clear()
        accepted = [queue.put(item) for item in range(8)]
        await settle()
        assert accepted == [True] * 5 + [False] * 3
        assert queue.stats()["dropped"] == 3
        assert not queue.put(8), "items that are being written count until they are durable"
        sink.open.set()
        await queue.flush()
        assert queue.put(9)
        await queue.close()
        assert list(sink.rows) == [0, 1, 2, 3, 4, 9]

    async def test_close_flushes_and_takes_nothing_more(self):
        queue, sink, _ = build()
        queue.put(1)
        await queue.close()
        assert not queue.put(2)
        await queue.close()
        assert sink.batches == [[1]]
        assert queue.stats() == {"queued": 0, "written": 1, "dropped": 1, "batches": 1, "error": None}

    async def test_close_that_fails_says_so_and_can_be_repeated(self):
        queue, sink, _ = build()
        sink.failures = 1
        queue.put(1)
        with pytest.raises(QuotaError):
            await queue.close()
        assert list(queue) == [1]
        await queue.close()
        assert sink.batches == [[1]]

    async def test_nothing_is_left_behind(self):
        before = asyncio.all_tasks()
        queue, _, _ = build(batch=3)
        for item in range(10):
            queue.put(item)
        await queue.close()
        await settle()
        assert asyncio.all_tasks() == before
        assert queue._timer is None

    async def test_a_write_that_flushes_its_own_queue_is_told_instead_of_hanging(self):
        async def write(items: list[int]) -> None:
            await queue.flush()

        queue: WritebackQueue[int] = WritebackQueue(write, clock=HandClock())
        queue.put(1)
        with pytest.raises(MemoryStoreError, match="the write that it would wait for"):
            await asyncio.wait_for(queue.flush(), 20)

    @pytest.mark.parametrize("wrong", [WritebackConfig(batch=0), WritebackConfig(wait_ms=-1), WritebackConfig(bound=0)])
    async def test_settings_that_cannot_work_are_refused(self, wrong):
        with pytest.raises(ConfigError, match="writeback needs"):
            WritebackQueue(Sink().write, wrong)

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        batch=st.integers(1, 6),
        bound=st.integers(1, 40),
        steps=st.lists(
            st.one_of(
                st.tuples(st.just("put"), st.integers(1, 12)),
                st.tuples(st.just("pass"), st.integers(1, 3000)),
                st.tuples(st.just("fail"), st.integers(1, 3)),
                st.tuples(st.just("slow"), st.integers(0, 4)),
                st.tuples(st.just("turn"), st.integers(1, 5)),
                st.tuples(st.just("flush"), st.just(0)),
            ),
            max_size=40,
        ),
    )
    async def test_nothing_accepted_is_lost_reordered_or_written_in_too_large_a_batch(self, batch, bound, steps):
        queue, sink, clock = build(batch, 1000, bound)
        accepted: list[int] = []
        item = dropped = 0
        for step, amount in steps:
            if step == "put":
                for _ in range(amount):
                    full = len(queue) == bound
                    assert queue.put(item) is not full
                    accepted, dropped = (accepted, dropped + 1) if full else ([*accepted, item], dropped)
                    item += 1
            elif step == "pass":
                clock.now += amount
                queue.poke()
            elif step == "fail":
                sink.failures = amount
            elif step == "slow":
                sink.turns = amount
            elif step == "turn":
                for _ in range(amount):
                    await asyncio.sleep(0)
            else:
                barrier = len(accepted)
                try:
                    await queue.flush()
                except QuotaError:
                    assert len(queue) > 0
                else:
                    assert list(sink.rows)[:barrier] == accepted[:barrier]
            durable = [row for acknowledged in sink.batches for row in acknowledged]
            assert durable == accepted[: len(durable)], "lost, repeated or out of order"
            assert list(queue) == accepted[queue.written :]
            assert len(queue) <= bound
        sink.failures = sink.turns = 0
        await queue.flush()
        await queue.close()
        assert [row for acknowledged in sink.batches for row in acknowledged] == accepted
        assert list(sink.rows) == accepted
        assert all(1 <= len(attempt) <= batch for attempt in sink.attempts)
        assert queue.dropped == dropped
