import asyncio
import gc

from pyruvllm.memory.writeback import WritebackQueue
from tests.contracts.writeback import HandClock, Sink, WritebackContract, build


class TestWriteback(WritebackContract):
    pass


def test_items_put_before_any_loop_runs_are_written_by_the_first_one():
    queue, sink, _ = build()
    queue.put(1)

    async def later():
        queue.put(2)
        await queue.flush()

    asyncio.run(later())
    assert sink.batches == [[1, 2]]


def test_a_loop_that_ends_in_mid_write_loses_nothing():
    async def half():
        queue.put(1)
        task = asyncio.ensure_future(queue.flush())
        await asyncio.sleep(0.01)
        assert sink.attempts == [[1]]
        assert not task.done()

    async def again():
        sink.open = asyncio.Event()
        sink.open.set()
        queue.put(2)
        await queue.close()

    sink = Sink()
    sink.open.clear()
    queue = WritebackQueue(sink.write, clock=HandClock())
    asyncio.run(half())
    assert list(queue) == [1]
    asyncio.run(again())
    assert sink.batches == [[1, 2]]


def test_a_loop_that_was_closed_without_ceremony_loses_nothing():
    queue, sink, clock = build()
    loop = asyncio.new_event_loop()

    async def put():
        queue.put(1)

    async def tick():
        clock.now += 5000
        queue.put(2)
        await asyncio.sleep(0.01)

    loop.run_until_complete(put())
    loop.close()
    asyncio.run(tick())
    assert sink.batches == [[1, 2]]


def test_a_write_that_a_closed_loop_left_hanging_is_done_again_and_only_once_at_a_time():
    started: list[list[int]] = []
    gates: list[asyncio.Event] = []

    async def write(items):
        started.append(items)
        gates.append(asyncio.Event())
        await gates[-1].wait()

    queue = WritebackQueue(write, clock=HandClock())
    first = asyncio.new_event_loop()
    queue.put(1)

    async def begin():
        asyncio.ensure_future(queue.flush())
        await asyncio.sleep(0.01)

    async def again():
        flushing = asyncio.ensure_future(queue.flush())
        await asyncio.sleep(0.01)
        abandoned.clear()
        gates[0] = None
        gc.collect()  # the old write is thrown away now; it must not take the new one for its own
        queue.put(2)
        another = asyncio.ensure_future(queue.flush())
        await asyncio.sleep(0.01)
        assert started == [[1], [1]]
        gates[1].set()
        await asyncio.wait_for(flushing, 20)
        await asyncio.sleep(0.01)
        gates[2].set()
        await asyncio.wait_for(another, 20)

    first.run_until_complete(begin())
    abandoned = list(asyncio.all_tasks(first))
    first.close()
    asyncio.run(again())
    assert started == [[1], [1], [2]]
    assert len(queue) == 0
