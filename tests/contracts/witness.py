"""What the witness log promises."""

import asyncio
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.config import WritebackConfig
from pyruvllm.errors import ConfigError, DuplicateError, FencedError, FilterError, MemoryStoreError, NotFoundError, QuotaError
from pyruvllm.memory.session import SessionIndex
from pyruvllm.memory.witness import WitnessEntry, WitnessLog
from pyruvllm.types import Draft, ErrorInfo, Generated, Latency
from tests.contracts.stores import ROUTING, FullDisk, SlowDisk, another, entry, settings_at, tables, vector
from tests.contracts.writeback import HandClock, settle


def same(left: WitnessEntry, right: WitnessEntry) -> bool:
    """Equal in every field."""
    for each in fields(WitnessEntry):
        mine, yours = getattr(left, each.name), getattr(right, each.name)
        if isinstance(mine, np.ndarray) and isinstance(yours, np.ndarray):
            if not np.array_equal(mine, yours):
                return False
        elif mine is None or yours is None or not isinstance(mine, np.ndarray):
            if mine is not yours and mine != yours:
                return False
    return True


def ids(entries) -> list[str]:
    return [entry.request_id for entry in entries]


def stored(memory) -> int:
    return memory.driver.query("SELECT count(*) FROM witness")[0][0]


class WitnessContract:
    async def test_every_field_comes_back_after_reopening(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        whole = entry(1, quality_score=0.25, error=ErrorInfo("QuotaError", "the disk is full"))
        bare = entry(2, query_embedding=None, response_embedding=None, context_doc_ids=())
        assert log.record(whole)
        assert log.record(bare)
        await log.close()
        await memory.close()
        log = WitnessLog(await open_memory())
        assert same(log.get("request-1"), whole)
        assert same(log.get("request-2"), bare)

    async def test_queued_entries_are_there_at_once(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number in range(3):
            log.record(entry(number))
        assert stored(memory) == 0
        assert same(log.get("request-1"), entry(1))
        assert ids(log.list()) == ["request-2", "request-1", "request-0"]
        assert log.count() == 3
        assert ids(await log.search("number1", 1)) == ["request-1"]
        assert log.queue.stats()["written"] == 0
        await log.close()
        assert (log.count(), stored(memory), log.queue.stats()["written"]) == (3, 3, 3)

    async def test_the_batch_is_written_when_it_is_full_or_due(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number in range(100):
            log.record(entry(number))
        await log.flush()
        assert log.queue.stats()["batches"] == 1
        log.record(entry(100))
        memory.clock.now += 1000
        log.queue.poke()
        await settle()
        await log.flush()
        assert (stored(memory), log.queue.stats()["batches"]) == (101, 2)
        await log.close()

    async def test_the_newest_first_in_pages(self, open_memory):
        log = WitnessLog(await open_memory())
        for number in (5, 1, 9, 3, 7):
            log.record(entry(number))
        assert ids(log.list()) == [f"request-{n}" for n in (9, 7, 5, 3, 1)]
        assert ids(log.list(limit=2, offset=1)) == ["request-7", "request-5"]
        assert len(log.list(limit=None)) == 5
        await log.close()

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({"session": "session-1"}, {1, 4, 7}),
            ({"quality": {"$lt": 0.5}}, {1, 2, 3, 4}),
            ({"quality": None}, {0}),
            ({"quality": {"$gte": 0.5}, "session": "session-2"}, {5, 8}),
            ({"timestamp": {"$gt": 1_700_000_000_003, "$lte": 1_700_000_000_006}}, {4, 5, 6}),
            ({"error.kind": "QuotaError"}, {3, 6}),
            ({"error": None}, {0, 1, 2, 4, 5, 7, 8, 9}),
            ({"latency.total_ms": {"$gt": 14}}, {8, 9}),
            ({"model": {"$in": ["none", "other"]}}, {9}),
            ({"context_ids": {"$contains": "passage-7"}}, {7}),
            ({"routing.confidence": {"$lt": 0.002}}, {0, 1}),
            ({"text": {"$contains": "number4"}}, {4}),
            ({"$or": [{"quality": 0.9}, {"error.kind": {"$exists": True}}]}, {3, 6, 9}),
            ({"quality": "good"}, set()),
            ({"session": {"$ne": "session-1"}, "quality": {"$gt": 0.6}}, {8, 9}),
            ({}, set(range(10))),
        ],
    )
    async def test_filters(self, open_memory, where, expected):
        log = WitnessLog(await open_memory())
        for number in range(10):
            log.record(
                entry(
                    number,
                    quality_score=number / 10 if number else None,
                    error=ErrorInfo("QuotaError", "full") if number in (3, 6) else None,
                    model_used="none" if number == 9 else "extractive",
                )
            )
        wanted = {f"request-{number}" for number in expected}
        assert set(ids(log.list(where))) == wanted
        assert log.count(where) == len(wanted)
        assert set(ids(await log.search("harbour matter", 20, where))) == wanted
        assert set(ids(await log.search(vector(5), 20, where))) == wanted
        await log.close()

    async def test_a_wrong_filter_is_refused(self, open_memory):
        log = WitnessLog(await open_memory())
        for where in ({"quality": {"$near": 1}}, {"quality": {}}, {"session": ["a"]}):
            with pytest.raises(FilterError):
                log.list(where)
            with pytest.raises(FilterError):
                log.count(where)

    async def test_similar_entries_come_first(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        questions = ["when is high tide in the harbour", "who feeds the sourdough", "is the lease signed"]
        for number, question in enumerate(questions):
            log.record(entry(number, query=question, query_embedding=(await memory.embedder.embed([question]))[0]))
        assert ids(await log.search("tide in the harbour today", 1)) == ["request-0"]
        assert ids(await log.search((await memory.embedder.embed(["sourdough"]))[0], 1)) == ["request-1"]
        hits = await memory.search("lease", 1, collections=("documents", "witness"))
        assert (hits[0].id, hits[0].collection) == ("request-2", "witness")
        await log.close()

    async def test_an_entry_without_embedding_is_found_by_its_words(self, open_memory):
        log = WitnessLog(await open_memory())
        log.record(entry(1, query_embedding=None, response_embedding=None, error=ErrorInfo("EmbeddingError", "no model")))
        log.record(entry(2))
        await log.flush()
        assert ids(await log.search("number1", 1)) == ["request-1"]
        assert log.get("request-1").query_embedding is None
        await log.close()

    async def test_rating_a_queued_and_a_written_entry(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        log.record(entry(1))
        await log.rate("request-1", 0.25)
        log.record(entry(2))
        assert log.count() == 2  # puts the row in, ahead of its batch
        await log.rate("request-2", 0.5)
        log.record(entry(3))
        await log.flush()
        await log.rate("request-3", 1)
        await log.rate("request-3", 0.75)
        await log.close()
        await memory.close()
        memory = await open_memory()
        log = WitnessLog(memory)
        assert [log.get(f"request-{n}").quality_score for n in (1, 2, 3)] == [0.25, 0.5, 0.75]
        assert ids(log.list({"quality": {"$lt": 0.6}})) == ["request-2", "request-1"]
        assert memory.get("request-3").metadata["quality"] == 0.75
        assert same(replace(log.get("request-3"), quality_score=None), entry(3))

    async def test_rating_while_its_batch_is_being_made_durable(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        log.record(entry(1))
        with SlowDisk(memory) as disk:
            flushing = asyncio.ensure_future(log.flush())
            await settle()
            assert stored(memory) == 1
            rating = asyncio.ensure_future(log.rate("request-1", 0.5))
            await settle()
            assert not rating.done()
            disk.gate.set()
            await asyncio.gather(flushing, rating)
        assert log.get("request-1").quality_score == 0.5
        await log.close()

    async def test_entries_get_their_rows_while_they_wait_a_few_at_a_time(self, open_memory, monkeypatch):
        memory = await open_memory()
        flush, flushes = memory.driver.flush, []
        monkeypatch.setattr(memory.driver, "flush", lambda: flushes.append(stored(memory)) or flush())
        log, sessions = WitnessLog(memory), SessionIndex(memory)
        sessions.open("session-1", user_id="ada")
        for number in range(60):
            log.record(entry(number, session_id="session-1", quality_score=None))
        counts = []
        for _ in range(50):
            counts.append(stored(memory))
            await asyncio.sleep(0)
        assert set(counts) == {0, 24, 48} and stored(memory) == 48  # what does not fill a group waits for its batch
        assert {24, 48} <= set(flushes)
        assert log.queue.stats()["written"] == 0 and log.waits("request-0")
        await log.rate("request-3", 0.75)  # has its row
        await log.rate("request-59", 0.25)  # has none
        assert (stored(memory), log.queue.stats()["batches"]) == (60, 1)
        assert [log.get(f"request-{n}").quality_score for n in (2, 3, 59)] == [None, 0.75, 0.25]
        assert {each.user_id for each in log.list(limit=None)} == {"ada"}
        sessions.open("session-2")
        log.record(entry(60, session_id="session-2"))
        sessions.open("session-2", user_id="grace")
        await log.flush()
        assert log.get("request-60").user_id == "grace"
        assert (await log.verify()).ok
        await log.close()

    async def test_rows_come_ahead_again_after_a_batch_that_many_came_during(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        with SlowDisk(memory) as disk:
            for number in range(140):
                log.record(entry(number))
            await settle()
            assert (stored(memory), log.queue.stats()["written"]) == (100, 0)
            disk.gate.set()
            while log.queue.stats()["written"] < 100:
                await asyncio.sleep(0.01)
            await settle()
        assert (stored(memory), log.queue.stats()["written"]) == (124, 100)
        await log.close()
        assert log.count() == 140

    async def test_rows_of_a_database_that_another_tab_writes_by_now_are_not_called_durable(self, open_memory, monkeypatch):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number in range(24):
            log.record(entry(number))
        await settle()
        assert stored(memory) == 24
        with monkeypatch.context() as patch:
            patch.setattr(type(memory), "writable", property(lambda self: False))
            with pytest.raises(FencedError, match="another tab writes now; 24"):
                await log.flush()
        assert log.waits("request-0") and ids(log.give_up()) == [f"request-{n}" for n in range(24)]
        await log.flush()  # nothing is left to be written here
        assert log.queue.stats()["queued"] == 0

    async def test_what_is_removed_while_it_waits_is_gone(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        await memory.add("documents", [Draft("a note", "request-9")])
        for number in range(24):
            log.record(entry(number))
        await settle()
        assert log.count() == 23 and log.refused == 1
        await memory.delete(collection="witness")
        with pytest.raises(NotFoundError, match="request-1"):
            log.get("request-1")
        with pytest.raises(MemoryStoreError, match="1 witness entries were refused.*request-9"):
            await log.flush()
        assert stored(memory) == log.count() == 0
        await log.close()

    async def test_a_refused_id_may_be_recorded_again(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        await memory.add("documents", [Draft("a note", "request-1")])
        log.record(entry(1))
        assert log.count() == 0 and log.refused == 1
        log.record(entry(1))
        with pytest.raises(MemoryStoreError, match="1 witness entries were refused"):
            await log.flush()
        assert log.refused == 2
        log.record(entry(1))
        assert log.count() == 0
        await memory.delete("request-1")
        log.record(entry(1, quality_score=0.75))
        with pytest.raises(MemoryStoreError):  # of the one before
            await log.flush()
        assert log.get("request-1").quality_score == 0.75 and log.queue.stats()["queued"] == 0
        await log.close()

    async def test_rows_that_a_failed_transaction_took_with_it_are_written_with_their_batch(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number in range(24):
            log.record(entry(number))
        with pytest.raises(ZeroDivisionError), memory.transaction():
            assert log.count() == 24
            raise ZeroDivisionError
        await settle()
        assert stored(memory) == 0
        await log.flush()
        assert ids(log.list(limit=None)) == [f"request-{n}" for n in reversed(range(24))]
        assert (await log.verify()).ok
        await log.close()

    async def test_rows_ahead_of_a_batch_that_cannot_be_written_are_tried_again_by_it(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        executemany = memory.driver.executemany

        def full(sql, rows):
            raise QuotaError("the disk is full")

        memory.driver.executemany = full
        said = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        for number in range(24):
            log.record(entry(number))
        await settle()
        asyncio.get_running_loop().set_exception_handler(None)
        assert stored(memory) == 0 and not said
        with pytest.raises(QuotaError):
            await log.flush()
        memory.driver.executemany = executemany
        await log.flush()
        assert stored(memory) == log.count() == 24 and log.refused == 0
        await log.close()

    async def test_rows_ahead_that_do_not_reach_the_disk_do_with_their_batch(self, open_memory, monkeypatch):
        memory = await open_memory()
        log = WitnessLog(memory)

        async def full():
            raise QuotaError("the disk is full")

        said = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        with monkeypatch.context() as patch:
            patch.setattr(memory.driver, "flush", full)
            for number in range(24):
                log.record(entry(number))
            await settle()
            assert stored(memory) == 24 and log.waits("request-0")
            with pytest.raises(QuotaError):
                await log.flush()
        asyncio.get_running_loop().set_exception_handler(None)
        assert not said
        await log.flush()
        assert not log.waits("request-0") and log.count() == 24 and (await log.verify()).ok
        await log.close()

    async def test_ratings_that_cannot_be_are_refused(self, open_memory):
        log = WitnessLog(await open_memory())
        log.record(entry(1))
        for wrong in (-0.1, 1.1, float("nan"), "good", None, True):
            with pytest.raises(ConfigError, match="quality is"):
                await log.rate("request-1", wrong)
        with pytest.raises(NotFoundError, match="nobody"):
            await log.rate("nobody", 0.5)
        assert log.get("request-1").quality_score is None
        await log.close()

    async def test_sessions_contain_their_entries(self, open_memory):
        memory = await open_memory()
        log, sessions = WitnessLog(memory), SessionIndex(memory)
        sessions.open("session-1")
        for number in range(6):
            log.record(entry(number))
        await log.flush()
        assert set(memory.graph.neighbours("session-1", "contains", "out")) == {"request-1", "request-4"}
        assert (await sessions.delete("session-1")).edges == 2
        await log.close()

    async def test_deleting_entries_through_the_memory_leaves_nothing(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        before = tables(memory)
        for number in range(6):
            log.record(entry(number))
        await log.flush()
        assert await memory.delete(collection="witness", where={"quality": None}) == 6
        assert tables(memory) == before
        assert log.list() == []
        await log.close()

    async def test_a_full_disk_loses_nothing_and_writes_nothing_twice(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number in range(5):
            log.record(entry(number))
        with FullDisk(memory), pytest.raises(QuotaError):
            await log.flush()
        log.record(entry(5))
        assert (log.count(), len(log.queue)) == (6, 6)
        await log.flush()
        assert (log.count(), stored(memory), len(log.queue)) == (6, 6, 0)
        await log.close()

    async def test_a_transaction_that_fails_around_a_look_loses_nothing(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        log.record(entry(1))
        with pytest.raises(ZeroDivisionError), memory.transaction():
            assert log.count() == 1
            raise ZeroDivisionError
        assert stored(memory) == 0
        await log.flush()
        assert stored(memory) == 1
        await log.close()

    async def test_beyond_the_bound_entries_are_dropped_and_counted(self, open_memory):
        memory = await open_memory(config=settings_at(HandClock(), writeback=WritebackConfig(bound=3)))
        log = WitnessLog(memory)
        assert [log.record(entry(number)) for number in range(5)] == [True, True, True, False, False]
        assert log.queue.stats()["dropped"] == 2
        assert log.count() == 3
        with pytest.raises(NotFoundError):
            log.get("request-4")
        await log.close()

    async def test_a_waiting_id_is_refused_and_a_taken_one_holds_nobody_up(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", ["a note"])
        taken = memory.select("documents")[0].id
        log = WitnessLog(memory)
        log.record(entry(1))
        with pytest.raises(DuplicateError, match="request-1"):
            log.record(entry(1))
        log.record(entry(7, request_id=taken))
        log.record(entry(2))
        log.record(entry(3))
        memory.put("documents", [Draft("has come in between", id="request-2")])
        with pytest.raises(MemoryStoreError, match=f"2 witness entries were refused.*{taken}: the id.*taken.*request-2"):
            await log.flush()
        await log.flush()  # it was told
        assert ids(log.list()) == ["request-3", "request-1"]
        assert (log.refused, len(log.queue)) == (2, 0)
        with pytest.raises(DuplicateError, match="request-3.*taken"):
            log.record(entry(3))
        assert memory.get(taken).collection == "documents"
        await log.close()

    async def test_a_read_only_memory_records_nothing_and_says_so(self, open_memory):
        writer = await open_memory()
        log = WitnessLog(writer)
        log.record(entry(1))
        await log.flush()
        reader = WitnessLog(await open_memory(readonly=True))
        assert reader.record(entry(2)) is False
        assert reader.queue.stats()["dropped"] == 1
        assert ids(reader.list()) == ["request-1"]
        await reader.close()
        await log.close()

    async def test_without_a_time_it_is_now(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        log.record(entry(1, timestamp=0))
        assert log.get("request-1").timestamp == memory.clock.now_ms()
        await log.close()

    async def test_whatever_was_asked_is_kept(self, open_memory):
        log = WitnessLog(await open_memory())
        log.record(entry(1, query="nul \0, half \ud83d", error=ErrorInfo("ConfigError", "\0")))
        log.record(entry(2, query=""))
        await log.flush()
        assert (log.get("request-1").query, log.get("request-1").error.message) == ("nul \ufffd, half \ufffd", "\ufffd")
        assert log.get("request-2").query == ""
        await log.close()

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"request_id": ""}, "request_id is empty"),
            ({"session_id": None}, "session_id is a string"),
            ({"query": 5}, "query is a string"),
            ({"query_embedding": np.ones(384)}, "query_embedding has the shape"),
            ({"response_embedding": np.full(768, np.inf)}, "response_embedding has values that are not finite"),
            ({"quality_score": 2}, "quality is 2"),
            ({"response_embedding": np.full(768, 1e5)}, "response_embedding has the value 100000.0; it is kept in float16"),
            ({"latency": Latency(total_ms=float("nan"))}, "latency.total_ms is nan"),
            ({"latency": Latency(routing_ms=-1.0)}, "latency.routing_ms is -1.0"),
            ({"latency": Latency(generation_ms="3")}, "latency.generation_ms is '3'"),
            ({"latency": None}, "latency is None; Latency"),
            ({"timestamp": 1.5}, "timestamp is 1.5; a whole number"),
            ({"timestamp": -1}, "timestamp is -1"),
            ({"timestamp": True}, "timestamp is True"),
            ({"routing_decision": None}, "routing_decision is None"),
            ({"routing_decision": replace(ROUTING, confidence=float("inf"))}, "routing_decision.confidence is inf"),
            ({"routing_decision": replace(ROUTING, model_probs=(0.5, float("nan")))}, "routing_decision.model_probs is nan"),
            ({"routing_decision": replace(ROUTING, model=3)}, "routing_decision.model is a string"),
            ({"context_doc_ids": "passage-1"}, "context_doc_ids is 'passage-1'"),
            ({"error": "broken"}, "error is 'broken'; ErrorInfo"),
            ({"generated": Generated("m", 1, 1, float("nan"), 1.0, "stop")}, "generated.first_token_ms is nan"),
        ],
    )
    async def test_what_cannot_be_is_refused(self, changes, reason):
        with pytest.raises(ConfigError, match=reason):
            entry(1, **changes)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("record"), st.integers(1, 8)),
                st.tuples(st.just("rate"), st.integers(0, 30)),
                st.tuples(st.just("fail"), st.just(0)),
                st.tuples(st.just("flush"), st.just(0)),
                st.tuples(st.just("look"), st.just(0)),
            ),
            max_size=12,
        )
    )
    async def test_the_log_is_what_was_recorded_whatever_happens(self, open_memory, steps):
        memory = await open_memory(another())
        log = WitnessLog(memory, WritebackConfig(batch=5))
        expected: dict[str, WitnessEntry] = {}
        for step, amount in steps:
            if step == "record":
                for _ in range(amount):
                    new = entry(len(expected))
                    log.record(new)
                    expected[new.request_id] = new
            elif step == "rate" and f"request-{amount}" in expected:
                await log.rate(f"request-{amount}", amount / 30)
                expected[f"request-{amount}"] = replace(expected[f"request-{amount}"], quality_score=amount / 30)
            elif step == "fail" and len(log.queue):
                with FullDisk(memory), pytest.raises(QuotaError):
                    await log.flush()
            elif step == "flush":
                await log.flush()
            elif step == "look":
                assert ids(log.list(limit=None)) == list(reversed(expected))
        await log.close()
        found = {found.request_id: found for found in log.list(limit=None)}
        assert list(reversed(found)) == list(expected)
        assert all(same(found[id], expected[id]) for id in expected)
        assert log.refused == log.queue.dropped == 0
