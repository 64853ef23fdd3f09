"""Many streams over one model: each says what it would say alone, none starves, and each can be left.

Bound by fixtures ``kernels`` and ``open_memory``.
"""

import asyncio

import numpy as np
import pytest

from pyruvllm.cache import EXACT, SessionCaches
from pyruvllm.errors import ConfigError, PoolFullError, QuotaError
from pyruvllm.models.sampling import Sampling
from pyruvllm.models.scheduler import AHEAD, BusyError, Scheduler
from pyruvllm.models.tokenizer import load
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.contracts.decoder_cache import prompt, shared

END = 256
GREEDY = Sampling(temperature=0)
BYTES = load(
    {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "lfm2",
        "tokenizer.ggml.tokens": [*ALPHABET, "<|im_end|>"],
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.token_type": np.array([1] * 256 + [3], np.int32),
        "tokenizer.ggml.eos_token_id": END,
    }
)


def alone(kernels, ids, count):
    runner = shared(kernels, setting=EXACT, vocabulary=257)
    logits, made = runner.feed(ids), []
    while len(made) < count and (id := int(logits.argmax())) != END:
        made.append(id)
        logits = runner.feed([id])
    return made


def scheduler(kernels, memory=None, budget=8 << 20, **options):
    runner = shared(kernels, setting=EXACT, budget=budget, vocabulary=257)
    caches = None if memory is None else SessionCaches(runner.cache, memory.driver)
    return Scheduler(runner, BYTES, caches, **options)


class SchedulerContract:
    async def test_each_says_what_it_would_say_alone(self, kernels):
        busy = scheduler(kernels, together=4)
        busy.runner.cache.release(busy.runner.sequence)
        prompts = [prompt(5 + 17 * number, number) for number in range(6)]
        streams = [busy.submit(ids, GREEDY, max_tokens=10 + number) for number, ids in enumerate(prompts)]
        texts = await asyncio.gather(*(stream.text() for stream in streams))
        for number, (stream, ids) in enumerate(zip(streams, prompts, strict=True)):
            assert stream.ids == alone(kernels, ids, 10 + number), number
            assert stream.usage.finish in ("length", "stop") and stream.usage.completion_tokens == len(stream.ids)
        assert texts[0] == "".join(BYTES.decode(streams[0].ids))
        assert busy.active == 0 and busy.steps < sum(len(stream.ids) for stream in streams) / 2
        busy.runner.cache.store.forget()
        assert busy.runner.cache.pool.used == 0

    async def test_who_reads_without_it_is_not_disturbed(self, kernels):
        busy = scheduler(kernels)
        streams = [busy.submit(prompt(30, number), GREEDY, max_tokens=20) for number in range(3)]
        runner, made = busy.runner, []

        async def pace():
            await asyncio.sleep(0)

        logits = await runner.read(prompt(25, 9), pace)
        for _ in range(15):
            made.append(int(logits[0].argmax()))
            await asyncio.sleep(0)
            logits = await runner.read(made[-1:], pace)
        await asyncio.gather(*(stream.text() for stream in streams))
        assert made == alone(kernels, prompt(25, 9), 15)[: len(made)] or 256 in made
        assert all(stream.ids == alone(kernels, prompt(30, number), 20) for number, stream in enumerate(streams))

    async def test_turns_are_fair(self, kernels):
        busy = scheduler(kernels, together=2)
        streams = [
            busy.submit(prompt(20, number), Sampling(seed=number, temperature=2.0, top_k=0, top_p=1.0), max_tokens=40)
            for number in range(6)
        ]
        spread = []
        while all(not stream._over for stream in streams):
            await asyncio.sleep(0)
            if all(stream.ids for stream in streams):
                spread.append(max(len(stream.ids) for stream in streams) - min(len(stream.ids) for stream in streams))
        assert spread and max(spread) <= 6
        await busy.close()

    async def test_what_cannot_be_written_down_is_no_fault_of_the_answer(self, kernels, open_memory, caplog, monkeypatch):
        busy = scheduler(kernels, await open_memory())

        def full(session):
            raise QuotaError("the disk is full")

        monkeypatch.setattr(busy.caches, "note", full)
        stream = busy.submit(prompt(20), GREEDY, session="a", max_tokens=6)
        async with asyncio.timeout(60):
            await stream.text()
        assert stream.ids == alone(kernels, prompt(20), 6)
        assert "'a' is kept was not written down: the disk is full" in caplog.text

    async def test_a_fault_beside_the_turns_is_told_to_who_reads(self, kernels, monkeypatch):
        busy = scheduler(kernels)
        streams = [busy.submit(prompt(20, number), GREEDY, max_tokens=6) for number in range(2)]

        def broken(*_):
            raise ZeroDivisionError("broken")

        monkeypatch.setattr(busy.runner.cache.pool, "trim", broken)
        for stream in streams:
            with pytest.raises(ZeroDivisionError, match="broken"):
                async with asyncio.timeout(60):
                    await stream.text()
            assert stream.usage.finish == "error"
        with pytest.raises(ZeroDivisionError):
            await busy.close()
        monkeypatch.undo()
        again = busy.submit(prompt(20), GREEDY, max_tokens=6)
        await again.text()
        assert again.ids == alone(kernels, prompt(20), 6), "the next one is served"

    async def test_a_conversation_goes_on_from_its_cache(self, kernels, open_memory):
        busy = scheduler(kernels, await open_memory())
        ids = prompt(60)
        first = busy.submit(ids, GREEDY, session="a", max_tokens=8)
        await first.text()
        assert len(busy.caches.find("a")) == 60 + len(first.ids) - 1
        busy.caches.freeze("a")
        more = ids + first.ids + prompt(9, 5)
        second = busy.submit(more, GREEDY, session="a", max_tokens=8)
        with pytest.raises(ConfigError, match="'a' is being answered"):
            busy.submit(more, session="a")
        await second.text()
        assert second.ids == alone(kernels, more, 8) and busy.caches.hits["cold"] == 1
        edited = busy.submit(ids[:40] + [3], GREEDY, session="a", max_tokens=8)
        await edited.text()
        assert edited.ids == alone(kernels, ids[:40] + [3], 8)

    async def test_more_conversations_than_the_pool_holds_at_once(self, kernels, open_memory):
        busy = scheduler(kernels, await open_memory(), budget=160_000)
        expected = {}
        for turn in range(2):
            for number in range(8):
                ids = expected.get(number, []) + prompt(50, 10 * turn + number)
                stream = busy.submit(ids, GREEDY, session=f"s{number}", max_tokens=6)
                await stream.text()
                expected[number] = ids + stream.ids
        pool = busy.runner.cache.pool
        assert pool.counts["evicted"] and busy.caches.hits["cold"] and pool.peak <= 160_000
        assert all(busy.caches.tier(f"s{number}") != "gone" for number in range(8))

    async def test_it_can_be_left_or_cancelled(self, kernels):
        busy = scheduler(kernels)
        stays, left, cancelled = (busy.submit(prompt(30, number), Sampling(seed=1), max_tokens=60) for number in range(3))
        pieces = aiter(left)
        await anext(pieces)
        await pieces.aclose()
        cancelled.cancel()
        assert await cancelled.text() == "" and (left.usage.finish, cancelled.usage.finish) == ("cancelled", "cancelled")
        await stays.text()
        assert stays.usage.finish in ("stop", "length") and busy.active == 0

    async def test_a_slow_reader_waits_alone_and_too_many_are_refused(self, kernels):
        busy = scheduler(kernels, waiting=3)
        hot = Sampling(temperature=5.0, top_k=0, top_p=1.0, seed=3)
        slow, quick = busy.submit(prompt(10), hot, max_tokens=200), busy.submit(prompt(10, 1), GREEDY, max_tokens=100)
        await quick.text()
        for _ in range(300):
            await asyncio.sleep(0)
        assert len(slow._pieces) <= AHEAD and (slow._over or len(slow.ids) < 200)
        for number in range(2 + slow._over):
            busy.submit(prompt(10, number), session=f"n{number}")
        with pytest.raises(BusyError, match="3 streams"):
            busy.submit(prompt(10))
        await busy.close()
        assert busy.active == 0

    async def test_what_has_no_room_fails_alone(self, kernels):
        busy = scheduler(kernels, budget=60_000)
        small, large = busy.submit(prompt(20), GREEDY, max_tokens=20), busy.submit(prompt(250, 1), GREEDY, max_tokens=5)
        with pytest.raises(PoolFullError):
            await large.text()
        await small.text()
        assert small.ids == alone(kernels, prompt(20), 20) and large.usage.finish == "error"

    async def test_stop_strings_are_not_shown(self, kernels):
        busy = scheduler(kernels)
        whole = busy.submit(prompt(30, 2), GREEDY, max_tokens=30)
        text = await whole.text()
        stop = text[4:6]
        cut = busy.submit(prompt(30, 2), GREEDY, max_tokens=30, stop=[stop])
        assert await cut.text() == text[: text.find(stop)] and cut.usage.finish == "stop"

    async def test_what_cannot_be_is_refused(self, kernels):
        busy = scheduler(kernels)
        for ids, options in (([], {}), ([257], {}), (prompt(257), {}), ([1], {"max_tokens": 0})):
            with pytest.raises(ConfigError):
                busy.submit(ids, **options)
        assert busy.active == 0
