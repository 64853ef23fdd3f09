"""The saved index of a large collection. Bound by the fixture ``open_memory`` of ``tests.contracts.stores``."""

import asyncio
import logging
from dataclasses import replace

import pytest

from pyruvllm.errors import QuotaError
from tests.contracts.memory import SMALL, hoard, ids
from tests.contracts.stores import tables, vector
from tests.contracts.writeback import HandClock


class LargeIndexContract:
    """Above ``exact_below`` the index is HNSW: it grows in slices, is saved with the rows, and is never believed against them."""

    async def grown(self, open_memory, count=60):
        memory = await open_memory(config=replace(SMALL, clock=HandClock()))
        memory.put("documents", hoard(count))
        await memory.grown()
        assert memory.collection("documents").index.kind == "hnsw"
        return memory

    async def reopened(self, open_memory):
        return await open_memory(config=replace(SMALL, clock=HandClock()))

    def found(self, memory):
        return [ids(memory.search_with(None, vector(place), 5)) for place in range(0, 60, 7)]

    async def test_it_answers_while_it_grows(self, open_memory):
        memory = await open_memory(config=replace(SMALL, clock=HandClock()))
        memory.put("documents", hoard(120))
        index = memory.collection("documents").index
        slices = 0
        while index.kind == "exact":
            assert ids(memory.search_with(None, vector(9), 1)) == ["h9"]
            if slices == 2:
                memory.remove(["h7"])
                memory.revise("h8", vector=vector(1000))
                memory.put("documents", hoard(3, first=500))
            await asyncio.sleep(0)
            slices += 1
        assert slices > 3 and len(index) == 122
        assert ids(memory.search_with(None, vector(1000), 1)) == ["h8"]
        assert "h7" not in ids(memory.search_with(None, vector(7), 122))
        await memory.grown()

    async def test_it_is_saved_with_the_rows_and_taken_as_it_is(self, open_memory, caplog):
        memory = await self.grown(open_memory)
        memory.remove(["h0", "h1"])
        memory.put("documents", hoard(5, first=60))
        memory.revise("h7", vector=vector(2000))
        before = self.found(memory)
        await memory.close()
        with caplog.at_level(logging.WARNING, "pyruvllm"):
            again = await self.reopened(open_memory)
        assert again.collection("documents").index.kind == "hnsw" and caplog.records == []
        assert self.found(again) == before and ids(again.search_with(None, vector(2000), 1)) == ["h7"]

    async def test_a_failed_transaction_leaves_it_as_it_was(self, open_memory, monkeypatch):
        memory = await self.grown(open_memory)
        before = self.found(memory), tables(memory)
        with pytest.raises(ZeroDivisionError), memory.transaction():
            memory.remove(["h0", "h7", "h14"])
            raise ZeroDivisionError
        assert (self.found(memory), tables(memory)) == before

        def full(changes):
            raise QuotaError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(memory.saved, "note", full)
            with pytest.raises(QuotaError):
                memory.remove(["h0", "h7", "h14"])
        assert (self.found(memory), tables(memory)) == before
        memory.remove(["h7"])
        assert "h7" not in ids(memory.search_with(None, vector(7), 60))
        await memory.close()
        again = await self.reopened(open_memory)
        assert again.collection("documents").index.kind == "hnsw" and len(again.collection("documents").index) == 59

    async def test_what_comes_and_goes_waits_for_no_link_and_is_right_at_once(self, open_memory):
        memory = await self.grown(open_memory)
        index = memory.collection("documents").index
        memory.put("documents", hoard(40, first=60))
        memory.remove([f"h{place}" for place in range(0, 60, 2)])
        memory.revise("h7", vector=vector(2000))
        assert index.kind == "hnsw" and index.unsettled > 40, "nothing was linked or taken out yet"
        there = {f"h{place}" for place in range(1, 60, 2)} | {f"h{place}" for place in range(60, 100)}

        def check():
            assert len(index) == len(there) and set(ids(memory.search_with(None, vector(3), 100))) == there
            assert ids(memory.search_with(None, vector(2000), 1)) == ["h7"] and ids(memory.search_with(None, vector(77), 1)) == ["h77"]
            hits = memory.search_with(None, vector(3), 100, where={"n": {"$lt": 80}})
            assert set(ids(hits)) == {id for id in there if int(id[1:]) < 80}
            fused = memory.search_with("matter", vector(3), 100)
            assert {hit.id: hit.why.similarity for hit in fused} == pytest.approx(
                {id: float(memory.vector(id) @ vector(3)) for id in there}, abs=1e-4
            )

        check()
        await memory.close()
        memory = await self.reopened(open_memory)
        index = memory.collection("documents").index
        assert index.kind == "hnsw" and index.unsettled
        check()
        await memory.grown()
        assert index.unsettled == 0
        check()

    async def test_one_that_cannot_take_in_a_write_is_made_anew(self, open_memory, monkeypatch, caplog):
        memory = await self.grown(open_memory)

        def broken(numbers, vectors):
            raise RuntimeError("out of memory")

        monkeypatch.setattr(memory.collection("documents").index, "add", broken)
        with caplog.at_level(logging.ERROR, "pyruvllm"):
            memory.put("documents", hoard(1, first=60))
        assert "made anew" in caplog.text
        assert ids(memory.search_with(None, vector(60), 1)) == ["h60"] and len(memory.collection("documents").index) == 61

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE index_segments SET content = substr(content, 1, 20) WHERE name = 'links/0'",
            "DELETE FROM index_segments WHERE name = 'ids/0'",
            "UPDATE index_states SET checksum = checksum + 1",
            "UPDATE index_states SET space = 'other@0/768'",
            "UPDATE index_states SET codec = 'int8'",
            "DELETE FROM vectors WHERE number = 7",
            "UPDATE index_changes SET vectors = vectors + 1",
        ],
    )
    async def test_one_that_does_not_fit_its_rows_is_built_anew_and_said_so(self, open_memory, damage, caplog):
        memory = await self.grown(open_memory)
        memory.put("documents", hoard(1, first=60))
        await memory.grown()
        memory.driver.execute(damage)
        await memory.driver.flush()
        await memory.driver.close()
        with caplog.at_level(logging.WARNING, "pyruvllm"):
            again = await self.reopened(open_memory)
        assert "built anew" in caplog.text
        exact = self.found(again)
        await again.grown()
        assert again.collection("documents").index.kind == "hnsw"
        assert [hits[0] for hits in self.found(again)] == [hits[0] for hits in exact]
        await again.close()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "pyruvllm"):
            last = await self.reopened(open_memory)
        assert last.collection("documents").index.kind == "hnsw" and caplog.records == []

    async def test_a_filter_still_gives_k(self, open_memory):
        memory = await self.grown(open_memory)
        for where, there in (({"n": {"$gte": 50}}, 10), ({"n": {"$lt": 3}}, 3), ({"n": {"$ne": 4}}, 59)):
            assert len(memory.search_with(None, vector(3), 60, where=where)) == there
            assert len(memory.search_with("matter", vector(3), 60, where=where)) == there
