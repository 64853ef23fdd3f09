"""What is laid between records that are alike, and that nothing is left out or left over."""

import asyncio

import numpy as np
import pytest

from pyruvllm.errors import SpaceError
from pyruvllm.memory import likeness
from pyruvllm.memory.documents import DocumentStore
from pyruvllm.memory.session import SessionIndex
from pyruvllm.memory.witness import WitnessLog
from pyruvllm.types import Draft
from tests.contracts.stores import entry, vector


def near(seed: int, cosine: float) -> np.ndarray:
    """A vector of that cosine with ``vector(0)``."""
    base, other = vector(0), vector(seed)
    other = other - (other @ base) * base
    return cosine * base + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)


def edges(memory, relation):
    rows = memory.driver.query("SELECT source, target, weight FROM edges WHERE relation = ?", [relation])
    return {(source, target): weight for source, target, weight in rows}


class LikenessContract:
    async def test_a_query_is_similar_to_earlier_ones_like_it(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number, cosine in enumerate((1.0, 0.9, 0.5, 0.85)):
            log.record(entry(number, query_embedding=near(number + 1, cosine)))
        await log.flush()
        await memory.grown()
        found = edges(memory, "similar")
        assert found.keys() == {("request-1", "request-0"), ("request-3", "request-0")}
        assert found["request-1", "request-0"] == pytest.approx(0.9, abs=2e-3)
        log.record(entry(9, query_embedding=near(9, 0.99)))
        await log.flush()
        await memory.grown()
        assert memory.graph.neighbours("request-9", "similar", "out") == ["request-0", "request-1", "request-3"]
        await log.close()

    async def test_laying_stands_aside_for_who_waits_for_a_write(self, open_memory):
        memory = await open_memory()
        log, edges_then = WitnessLog(memory), []
        log.record(entry(0, query_embedding=near(1, 0.9)))
        await log.flush()
        await memory.grown()
        log.record(entry(1, query_embedding=near(2, 0.9)))
        flush = memory.driver.flush

        async def slow():
            for _ in range(20):  # turns in which something else could have begun
                await asyncio.sleep(0)
            edges_then.append(memory.graph.count("similar"))
            await flush()

        memory.driver.flush = slow
        await log.flush()
        memory.driver.flush = flush
        await memory.grown()
        assert edges_then[0] == 0 and memory.graph.count("similar") > 0
        await log.close()

    async def test_only_the_nearest_few_are_linked(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number in range(8):
            log.record(entry(number, query_embedding=near(number + 1, 0.99)))
        await log.flush()
        await memory.grown()
        assert len(memory.graph.edges("request-7", "similar", "out")) == likeness.MOST
        await log.close()

    async def test_an_entry_recalled_the_passages_that_are_there(self, open_memory):
        memory = await open_memory()
        memory.put("documents", [Draft("a passage", "passage-1", vector=vector(1))])
        log, sessions = WitnessLog(memory), SessionIndex(memory)
        sessions.open("session-1")
        for number in range(3):
            log.record(entry(number))
        await log.flush()
        await memory.grown()
        assert edges(memory, "recalled").keys() == {("request-1", "passage-1")}
        assert edges(memory, "contains").keys() == {("session-1", "request-1")}  # the other sessions are not there
        path = memory.graph.shortest_path("session-1", "passage-1")
        assert [edge.relation for edge in path] == ["contains", "recalled"]
        await log.close()

    async def test_passages_of_other_documents_on_the_same_topic(self, open_memory):
        memory = await open_memory()
        documents = DocumentStore(memory)
        one = await documents.add("One", "The lighthouse on the cliff was painted white in spring.")
        two = await documents.add("Two", "The lighthouse on the cliff was painted white in spring!")
        three = await documents.add("Three", "The lighthouse on the cliff was painted red in autumn.")
        other = await documents.add("Other", "Sourdough bread needs patience.")
        await memory.grown()
        a, b, c, d = (documents.passages(each.id)[0].id for each in (one, two, three, other))
        assert edges(memory, "duplicates").keys() == {(b, a)} or edges(memory, "same_topic").keys() >= {(b, a)}
        assert {(c, a), (c, b)} <= edges(memory, "same_topic").keys()
        assert memory.graph.edges(d, "same_topic") == []
        await documents.delete(one.id)
        assert memory.graph.edges(a) == [] and (c, b) in edges(memory, "same_topic")

    async def test_parts_of_one_document_are_not_linked(self, open_memory):
        memory = await open_memory()
        documents = DocumentStore(memory)
        await documents.add("One", "\n\n".join(["The tide comes in twice a day along this coast, and nobody minds."] * 30))
        await memory.grown()
        assert memory.graph.count("contains") > 1
        assert not edges(memory, "duplicates") and not edges(memory, "same_topic")

    async def test_what_was_not_linked_before_closing_is_after_opening(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        for number in range(30):
            log.record(entry(number, query_embedding=near(1 + number, 0.95)))
        log.settle()
        memory._growth.cancel()
        memory.likeness.behind = {"witness"}
        memory.likeness.step()
        assert 0 < memory.graph.count("similar") < 26 * likeness.MOST
        await log.close()
        await memory.close()
        memory = await open_memory()
        await memory.grown()
        linked = {source for source, _ in edges(memory, "similar")}
        assert linked == {f"request-{number}" for number in range(1, 30)}
        before = memory.graph.count()
        await memory.close()
        memory = await open_memory()
        await memory.grown()
        assert memory.graph.count() == before

    async def test_what_cannot_be_searched_waits(self, open_memory, monkeypatch):
        memory = await open_memory()
        log = WitnessLog(memory)
        with monkeypatch.context() as patched:
            patched.setattr(memory, "nearest", lambda *_: (_ for _ in ()).throw(SpaceError("another space")))
            log.record(entry(1))
            await log.flush()
            await memory.grown()
        assert memory.driver.query("SELECT * FROM link_progress WHERE collection = 'witness'") == []
        log.record(entry(2))
        await log.flush()
        await memory.grown()
        assert len(memory.driver.query("SELECT * FROM link_progress WHERE collection = 'witness'")) == 1
        await log.close()

    async def test_forgetting_leaves_no_edge_to_what_is_gone(self, open_memory):
        memory = await open_memory()
        log, sessions = WitnessLog(memory), SessionIndex(memory)
        for name in ("session-0", "session-1"):
            sessions.open(name)
        for number in range(6):
            log.record(entry(number, query_embedding=near(1 + number, 0.95)))
        await log.flush()
        await memory.grown()
        assert memory.graph.traverse("session-0", depth=3) != []
        await sessions.delete("session-0")
        log.record(entry(6, session_id="session-0"))  # came too late
        await log.flush()
        await memory.delete(["request-1", "request-2"])
        await memory.grown()
        known = {id for (id,) in memory.driver.query("SELECT id FROM records")}
        rows = memory.driver.query("SELECT source, target FROM edges")
        assert rows and {id for row in rows for id in row} <= known
        gone = memory.graph.traverse(["session-0", "request-1", "request-2"], depth=3)
        assert gone == []
        await log.close()

    async def test_a_step_reads_only_what_it_lays(self, open_memory):
        """By number from where it stands: sorting all of a collection for each slice would take the square of its size."""
        memory = await open_memory()
        plan = " ".join(str(step) for *_, step in memory.driver.query(f"EXPLAIN QUERY PLAN {likeness.BEHIND}", ["witness", 0, 10]))
        assert "records_by_number" in plan and "TEMP B-TREE" not in plan, plan
