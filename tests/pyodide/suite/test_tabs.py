"""One memory opened twice, as two tabs do: what the second is asked to write the first one writes, and it takes over."""

import asyncio
import itertools
import json

import js
import numpy as np
import pytest

import pyruvllm
from pyruvllm import host
from pyruvllm.adapters.langchain import RuvVectorStore
from pyruvllm.adapters.langgraph import RuvStore
from pyruvllm.config import Config, SessionConfig
from pyruvllm.errors import ConfigError, DuplicateError, NotFoundError, ReadOnlyError
from pyruvllm.memory.policy import PolicyEntry
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.storage import delete_database, open_driver
from pyruvllm.types import Draft
from tests.contracts.stores import WordEmbedder
from tests.generators.scripted import scripted_model

count = itertools.count()
LEASE = "Signed the new lease for Quay Street 14. It runs for three years and ends on 31 January 2029."


@pytest.fixture
async def name():
    name = f"tabs-{next(count)}"
    yield name
    await delete_database(name)


@pytest.fixture
async def open_tab(name):
    opened = []

    async def open_tab(**options):
        opened.append(await pyruvllm.open(name, embedder=WordEmbedder(), **options))
        return opened[-1]

    yield open_tab
    for llm in opened:
        await llm.close()


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def same(one, other):
    """Whether two tabs hold the same in their indexes, and find the same."""
    assert {c.name: len(c) for c in one.memory.collections()} == {c.name: len(c) for c in other.memory.collections()}
    for collection in one.memory.collections():
        other_index = other.memory.collection(collection.name).index
        assert len(collection.index) == len(other_index)
        vector = np.ones(768, np.float32) / np.sqrt(np.float32(768))
        here, there = (dict(llm.memory.nearest(collection.name, vector, 1000, None)) for llm in (one, other))
        assert here == pytest.approx(there, abs=1e-6)
    return True


async def test_either_tab_remembers_asks_rates_and_forgets(open_tab):
    first, second = await open_tab(), await open_tab()
    assert (first.role, second.role, second.writable, second.memory.writable) == ("writer", "follower", True, False)
    document = await second.remember(LEASE, title="Lease", metadata={"place": "quay"})
    assert second.documents.get(document.id) == document == first.documents.get(document.id)
    assert document.metadata == {"place": "quay"}
    assert second.documents.text(document.id) == LEASE
    answer = await second.ask("When does the lease end?", session="mine")
    assert answer.recorded and answer.sources[0].title == "Lease"
    await second.feedback(answer.id, 0.5)
    for llm in (first, second):
        [turn, reply] = llm.sessions.history("mine")
        assert (turn.text, reply.text) == ("When does the lease end?", answer.text)
        entry = llm.witness.get(answer.id)
        assert (entry.quality_score, entry.session_id, entry.routing_decision) == (0.5, "mine", answer.routing)
        assert llm.history("mine")[1][1] == answer
    theirs = await first.ask("Where is Quay Street?", session="theirs")
    await first.flush()
    await until(lambda: second.witness.count() == 2)
    assert second.witness.get(theirs.id).query == "Where is Quay Street?"
    same(first, second)
    removed = await second.forget(document=document.id)
    assert (removed.documents, removed.passages) == (1, 1) and removed.searches
    for llm in (first, second):
        with pytest.raises(NotFoundError):
            llm.documents.get(document.id)
    same(first, second)


async def test_errors_of_the_writer_arrive_as_they_are(open_tab):
    first, second = await open_tab(), await open_tab()
    with pytest.raises(NotFoundError, match="no document 'x'"):
        await second.forget(document="x")
    with pytest.raises(NotFoundError):
        await second.feedback("x", 1.0)
    with pytest.raises(ConfigError):
        await second.forget()
    await second.memory.add("notes", Draft("once", id="one"))
    with pytest.raises(DuplicateError):
        await second.memory.add("notes", Draft("twice", id="one"))
    with pytest.raises(ReadOnlyError):
        second.memory.put("notes", [Draft("not by this way")])
    assert first.memory.count("notes") == 1


async def test_records_are_added_changed_and_deleted_from_either_tab(open_tab):
    first, second = await open_tab(), await open_tab()
    [one, two] = await second.memory.add("notes", [Draft("the boat leaks", metadata={"n": 1}), "the shed is dry"])
    assert (one.text, one.metadata, two.text) == ("the boat leaks", {"n": 1}, "the shed is dry")
    assert np.array_equal(first.memory.vector(one.id), second.memory.vector(one.id))
    await second.memory.update(one.id, text="the boat is repaired")
    await first.memory.update(two.id, metadata={"n": 2})
    await until(lambda: second.memory.get(two.id).metadata == {"n": 2})
    assert [hit.id for hit in await second.memory.search("repaired", 1, collections="notes")] == [one.id]
    same(first, second)
    assert await second.memory.delete([one.id]) == 1
    assert await second.memory.delete(collection="notes", where={"n": 2}) == 1
    assert first.memory.count("notes") == second.memory.count("notes") == 0
    same(first, second)


async def test_the_adapters_write_from_either_tab(open_tab):
    first, second = await open_tab(), await open_tab()
    vectors, store = RuvVectorStore(second.memory), RuvStore(second.memory)
    assert await vectors.aadd_texts(["the boat leaks", "the shed is dry"], ids=["a", "b"]) == ["a", "b"]
    await vectors.aadd_texts(["the boat is repaired"], [{"n": 1}], ids=["a"])
    await vectors.adelete(["b"])
    assert [(record.id, record.text, record.metadata) for record in first.memory.select("langchain")] == [
        ("a", "the boat is repaired", {"n": 1})
    ]
    assert np.array_equal(first.memory.vector("a"), second.memory.vector("a"))
    space = ("notes", "marta")
    await store.aput(space, "one", {"text": "asters"})
    await store.aput(space, "bare", {"text": "zinnias"}, index=False)
    before = await store.aget(space, "one")
    await store.aput(space, "one", {"text": "tulips"})
    await store.adelete(space, "bare"), await store.adelete(space, "never there")
    here, there = [await each.aget(space, "one") for each in (store, RuvStore(first.memory))]
    assert here.value == there.value == {"text": "tulips"} and here.created_at == there.created_at == before.created_at
    assert await RuvStore(first.memory).aget(space, "bare") is None
    assert [item.key for item in await store.asearch(("notes",), query="tulips")] == ["one"]
    with pytest.raises(DuplicateError, match="'a'.*'langchain'"):
        await RuvVectorStore(second.memory, "other").aadd_texts(["not here"], ids=["a"])
    same(first, second)


async def test_the_stores_are_written_from_either_tab(open_tab):
    first, second = await open_tab(), await open_tab()
    vector = np.eye(1, 768, dtype=np.float32)[0]
    for llm in (second, first):
        name = f"by the {llm.role}"
        assert (await llm.write("sessions.open", name, user_id="ann")).user_id == "ann"
        assert await llm.write("sessions.append", name, "user", "Where is the key?", vector=vector) is None
        assert (await llm.write("sessions.pin", name)).pinned
        assert (await llm.write("sessions.switch_adapter", name, "legal")).active_adapter == "legal"
        learned = await llm.write("patterns.learn", name, vector, kind=llm.role, quality=1.0, learned_from=[name])
        assert (await llm.write("patterns.reinforce", learned.id, 0.0)).uses == 1 == llm.patterns.get(learned.id).uses
        fisher = np.ones(3, np.float32)
        policy = await llm.write("policies.put", PolicyEntry("taste", {"of": name}, "deep_loop", 0.5, vector, fisher))
        assert (policy.parameters, policy.version) == ({"of": name}, 1 if llm is second else 2) and (policy.fisher_diagonal == 1).all()
        await llm.write("graph.link", name, "somewhere", "leads", weight=2.0)
        await llm.write("graph.reinforce", name, "somewhere", "leads", True)
        await llm.write("graph.link", name, "nowhere", "leads")
        await llm.write("graph.unlink", name, "nowhere", "leads")
        await until(lambda: first.memory.graph.count() == second.memory.graph.count())
        for each in (first, second):
            assert [turn.text for turn in each.sessions.history(name)] == ["Where is the key?"]
            assert each.sessions.get(name).title == "Where is the key?" and each.patterns.learned_from(learned.id) == [name]
            assert each.policies.latest("taste").id == policy.id
            [edge] = each.memory.graph.edges(name, "leads")
            assert (edge.target, edge.weight) == ("somewhere", 2.1)
            assert [reached.id for reached in each.memory.graph.traverse(name, direction="out")] == ["somewhere"]
    assert not any("key" in str(row) for row in first.memory.driver.query("SELECT result FROM operations"))
    with pytest.raises(ConfigError, match="'ann', not to 'bob'"):
        await second.write("sessions.open", "by the writer", user_id="bob")
    with pytest.raises(NotFoundError):
        await second.write("graph.unlink", "a", "b", "leads")
    with pytest.raises(ConfigError, match="sessions.pin"):
        await second.write("sessions.close", "s")
    same(first, second)


async def test_what_a_tab_asks_for_a_user_is_of_the_user(open_tab):
    first, second = await open_tab(), await open_tab()
    await first.ask("Where is the key?", session="s")
    await first.flush()
    await until(lambda: second.sessions.list())
    answer = await second.ask("And the lamp?", session="s", user="ann")
    alone = await second.ask("And the boat?", user="ann")
    await second.flush()
    for llm in (first, second):
        assert llm.sessions.get("s").user_id == llm.witness.get(answer.id).user_id == llm.witness.get(alone.id).user_id == "ann"
        with pytest.raises(ConfigError):
            await llm.ask("And now?", session="s", user="bob")
    removed = await second.forget(user="ann")
    assert (removed.sessions, removed.witness) == (2, 3)


async def test_a_text_that_both_remember_is_there_once(open_tab):
    first, second = await open_tab(), await open_tab()
    one, other = await asyncio.gather(first.remember(LEASE), second.remember(LEASE))
    assert one.id == other.id
    assert len(first.documents.list()) == len(second.documents.list()) == 1


async def test_the_writer_closes_and_the_other_goes_on_writing(open_tab):
    first, second, third = [await open_tab() for _ in range(3)]
    changes = []
    second.on_role(lambda what, why: changes.append(what))
    await first.remember(LEASE, title="Lease")
    asking = asyncio.gather(*(third.ask(f"When does lease {n} end?", session="many") for n in range(5)))
    await first.close()
    answers = await asking
    await third.flush()
    await until(lambda: second.memory.writable)
    assert "writer" in changes and third.role == "follower"
    assert {entry.request_id for entry in third.witness.list()} == {answer.id for answer in answers}
    assert third.sessions.get("many").turn_count == 10
    same(second, third)
    await second.remember("The kettle is from 1931.", title="Kettle")
    await until(lambda: len(third.documents.list()) == 2)
    same(second, third)
    await second.close()
    await until(lambda: third.memory.writable)
    await third.close()
    again = await open_tab()
    assert {document.title for document in again.documents.list()} == {"Lease", "Kettle"}


async def load(llm):
    """A model that says two words of the lease, and a conversation that it holds."""
    await llm.models.load(js.Blob.new(host.current().to_js([scripted_model(["The lease", " ends."])])))
    assert (await llm.ask("When does the lease end?", session="mine")).kind == "generated"
    assert llm.models.model.caches.tier("mine") == "hot"


def holds_nothing(llm):
    caches = llm.models.model.caches
    return not caches.report()["live"] and not caches.cache.store.pages


async def test_what_one_tab_forgets_leaves_the_models_of_all(open_tab):
    first, second, third = [await open_tab() for _ in range(3)]
    document = await first.remember(LEASE, title="Lease")
    await first.flush()
    await until(lambda: second.documents.list() and third.documents.list())
    for llm in (first, second, third):
        await load(llm)
    first.models.model.caches.freeze("mine")
    await first.ask("And when does it begin?", session="mine")
    assert first.memory.driver.query("SELECT count(*) FROM kv_sessions") == [(1,)]
    await second.forget(document=document.id)
    assert holds_nothing(first) and holds_nothing(second)
    await until(lambda: holds_nothing(third))
    with pytest.raises(NotFoundError):
        first.models.model.caches.freeze("mine")  # as expiry and eviction do
    assert first.memory.driver.query("SELECT count(*) FROM kv_sessions") == [(0,)]
    for llm in (first, second, third):
        assert (await llm.ask("Anything?", session="mine")).kind == "generated"


async def test_forgetting_waits_for_the_writers_answer_and_others_let_go_after_theirs(open_tab):
    first, second, third = [await open_tab() for _ in range(3)]
    document = await first.remember(LEASE, title="Lease")
    await first.flush()
    await until(lambda: second.documents.list() and third.documents.list())
    for llm in (first, third):
        await load(llm)
    here, there = (llm.stream("When does the lease end?", session="mine") for llm in (first, third))
    ours, theirs = aiter(here), aiter(there)
    await anext(ours)
    await anext(theirs)
    forgetting = asyncio.ensure_future(second.forget(document=document.id))
    await asyncio.sleep(0.3)
    assert not forgetting.done() and first.documents.list() and not holds_nothing(first)
    assert [piece async for piece in ours]
    await forgetting
    assert holds_nothing(first)
    await until(lambda: not third.documents.list())
    assert not holds_nothing(third), "it is being used"
    assert [piece async for piece in theirs]
    assert holds_nothing(third)


async def test_a_tab_that_takes_over_has_let_go_of_what_was_forgotten(open_tab):
    first, second = await open_tab(), await open_tab()
    document = await first.remember(LEASE, title="Lease")
    await first.flush()
    await until(lambda: second.documents.list())
    await load(first)
    await second.take_over()
    await until(lambda: first.role == "follower")
    await second.forget(document=document.id)
    await until(lambda: holds_nothing(first))
    await first.take_over()
    assert first.memory.driver.query("SELECT count(*) FROM kv_sessions") == [(0,)]


async def test_who_takes_over_ends_the_sessions_that_are_due(open_tab):
    first, second = await open_tab(), await open_tab(config=Config(session=SessionConfig(idle_ms=100)))
    await first.ask("Anything?", session="s")
    await first.flush()
    await until(lambda: second.sessions.count(live=True) == 1)
    await asyncio.sleep(0.2)
    assert second.sessions.count(live=True) == 1, "a follower ends none"
    await first.close()
    await until(lambda: second.memory.writable)
    await until(lambda: not second.sessions.count(live=True))


@pytest.mark.parametrize("laid", [False, True])
async def test_what_waits_for_its_batch_when_another_takes_over_is_there_once(open_tab, caplog, laid):
    first, second = await open_tab(), await open_tab()
    answers = [await first.ask(f"When does lease {n} end?", session="mine") for n in range(3)]
    if laid:
        first.witness.settle()
    assert all(first.witness.waits(answer.id) for answer in answers)
    await second.take_over()
    await until(lambda: first.role == "follower")
    await first.flush()
    await until(lambda: first.sessions.get("mine").turn_count == second.sessions.get("mine").turn_count)
    for llm in (first, second):
        said = [turn.text for turn in llm.sessions.history("mine") if turn.role == "user"]
        assert said == [f"When does lease {n} end?" for n in range(3)]
        assert [entry.request_id for entry in reversed(llm.witness.list())] == [answer.id for answer in answers]
    assert (await second.witness.verify()).ok
    assert not caplog.records


async def test_what_was_saved_when_another_took_over_and_is_forgotten_there_stays_forgotten(open_tab):
    first, second = await open_tab(), await open_tab()
    await first.ask("When does the lease end?", session="mine")
    first.witness.settle()
    await second.take_over()
    await second.forget(session="mine")
    await until(lambda: first.role == "follower")
    await first.flush()
    for llm in (first, second):
        await until(lambda llm=llm: not llm.witness.count() and not llm.sessions.list())


async def test_what_was_done_is_not_done_again_under_the_same_id(open_tab):
    first, second = await open_tab(), await open_tab()
    await first.ask("Anything?", session="s")
    await first.flush()
    perform = first.memory.operations.perform
    ask = json.dumps(["sessions.delete", {"of": "s"}])
    done = json.loads(await perform("the-id", ask))
    assert done["result"]["turns"] == 2
    assert json.loads(await perform("the-id", ask)) == done
    assert json.loads(await perform("another-id", ask))["kind"] == "NotFoundError"
    await until(lambda: not second.sessions.list())
    driver = second.memory.driver  # the tab that takes over knows it too
    await driver.take_over()
    assert json.loads(await second.memory.operations.perform("the-id", ask)) == done


async def test_operations_keep_no_content(open_tab):
    first, second = await open_tab(), await open_tab()
    await second.remember(LEASE, title="Lease")
    await second.ask("Zanzibar?")
    await second.flush()
    rows = first.memory.driver.query("SELECT id, result FROM operations")
    assert len(rows) == 2 and not any("ease" in str(row) or "Zanzibar" in str(row) for row in rows)


async def test_a_restore_in_the_second_tab_is_seen_by_the_first(open_tab):
    first, second = await open_tab(), await open_tab()
    await first.remember(LEASE, title="Lease")
    image = await first.export()
    kettle = await second.remember("The kettle is from 1931.", title="Kettle")
    await second.restore(image)
    assert second.role == "writer"
    await until(lambda: first.role == "follower")
    assert [document.title for document in second.documents.list()] == ["Lease"]
    await until(lambda: [document.title for document in first.documents.list()] == ["Lease"])
    same(first, second)
    with pytest.raises(NotFoundError):
        await first.forget(document=kettle.id)
    await first.remember("The lamp hangs in the shed.", title="Lamp")
    same(first, second)


async def test_a_follower_takes_in_a_long_journal_or_begins_anew(name):
    first = await UnifiedMemory.open(await open_driver(name), WordEmbedder())
    first.join()
    first.put("notes", [Draft(f"note {n}", vector=np.eye(1, 768, n, dtype=np.float32)[0]) for n in range(50)])
    await first.flush()
    second = await UnifiedMemory.open(await open_driver(name), WordEmbedder())
    second.join()
    for start in range(50, 400):  # more commits than the journal keeps
        first.put("notes", [Draft(f"note {start}", vector=np.eye(1, 768, start, dtype=np.float32)[0])])
    await first.flush()
    await until(lambda: len(second.collection("notes")) == 400)
    assert len(second.collection("notes").index) == 400
    more = [Draft(f"more {n}", vector=np.eye(1, 768, n % 768, dtype=np.float32)[0]) for n in range(1500)]
    first.put("notes", more)  # more than a row lists
    first.remove([record.id for record in first.select("notes", limit=40)])
    await first.flush()
    await until(lambda: len(second.collection("notes")) == 1860)
    await first.close()
    await until(lambda: second.writable)
    fingerprint = second.records.fingerprint("notes")
    collection = second.collection("notes")
    assert (collection.vectors, collection.checksum) == fingerprint
    await second.close()
