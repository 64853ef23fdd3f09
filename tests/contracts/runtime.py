"""The whole of it, on whatever host runs this: remember, ask, cite, come back, forget."""

import asyncio
import weakref

import numpy as np
import pytest

import pyruvllm
from pyruvllm.config import Config, WritebackConfig
from pyruvllm.errors import (
    ConfigError,
    CorruptError,
    DuplicateError,
    EmbeddingError,
    LockedError,
    NotFoundError,
    PassphraseError,
    StorageError,
)
from pyruvllm.kernels.shelf import CURRENT, DriverShelf
from pyruvllm.memory.policy import BUNDLED, PolicyEntry
from pyruvllm.storage import delete_database
from pyruvllm.types import Draft
from tests.contracts.stores import WordEmbedder, entry
from tests.contracts.writeback import settle

NOTES = {
    "Annika: engine": "The engine of the Annika ran hot twice. The impeller had lost two of its six blades. A new impeller fixed it.",
    "Jonas": "My nephew Jonas is allergic to hazelnuts and walnuts, badly; almonds are fine. The pen is in his rucksack.",
    "Lease": "Signed the new lease for Quay Street 14. It runs for three years and ends on 31 January 2029.",
    "Sourdough": "The starter is called Bruno. After a holiday feed it twice a day for two days at 26 degrees.",
    "Choir": "Rehearsal on Tuesdays at half past seven in the net loft. The concert is on 13 December.",
}
QUESTIONS = {
    "Which nuts can my nephew not eat?": "Jonas",
    "Why did the boat's motor overheat?": "Annika: engine",
    "When does the lease end?": "Lease",
    "How do I revive the sourdough starter?": "Sourdough",
    "When do we sing?": "Choir",
}


class RuntimeContract:
    """Bound by a fixture ``open_llm``: ``async (name="main", **options) -> RuvLLM``; the same name is the same memory."""

    @staticmethod
    async def told(llm):
        return {title: await llm.remember(text, title=title) for title, text in NOTES.items()}

    async def test_answers_quote_the_right_note_and_say_why(self, open_llm):
        llm = await open_llm()
        documents = await self.told(llm)
        for question, title in QUESTIONS.items():
            answer = await llm.ask(question)
            first = answer.sources[0]
            assert (first.title, first.document) == (title, documents[title].id), question
            assert answer.kind == "extractive" and "[1]" in answer.text
            assert first.why and first.text == NOTES[title][first.start : first.end]
            quoted = [" ".join(first.text[a:b].split()) for a, b in first.highlight]
            assert quoted and all(quote in answer.text for quote in quoted)

    async def test_neither_headings_nor_questions_nor_marks_of_lists_are_quoted(self, open_llm):
        llm = await open_llm()
        asked = "## To ask\n\n- When does the lease end?\n- When is the rent due?"
        said = "## The lease\n\n- It ends on 31 January 2029.\n- The rent is due in May."
        await llm.remember(f"{asked}\n\n{said}", title="Lease", media_type="text/markdown")
        assert (await llm.ask("When does the lease end?")).text.startswith("“It ends on 31 January 2029.")

    async def test_latency_adds_up(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        latency = (await llm.ask("When does the lease end?")).latency
        steps = latency.embedding_ms + latency.retrieval_ms + latency.routing_ms + latency.attention_ms + latency.generation_ms
        assert latency.embedding_ms > 0 and latency.retrieval_ms > 0 and latency.generation_ms > 0
        assert steps <= latency.total_ms + 1e-6

    async def test_stream_is_the_answer_in_pieces(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        stream = llm.stream("Which nuts can my nephew not eat?")
        pieces = []
        async for piece in stream:
            assert stream.sources
            pieces.append(piece)
        assert "".join(pieces) == stream.answer.text

    async def test_what_is_not_there_is_not_answered(self, open_llm):
        llm = await open_llm()
        assert (await llm.ask("Who was the third emperor of Rome?")).kind == "none"
        await self.told(llm)
        answer = await llm.ask("Who was the third emperor of Rome?")
        assert answer.kind == "none" and not any(source.highlight for source in answer.sources)

    async def test_everything_is_there_after_reopening(self, open_llm):
        llm = await open_llm()
        documents = await self.told(llm)
        answer = await llm.ask("When does the lease end?", session="s1")
        await llm.feedback(answer.id, 1.0)
        await llm.close()

        llm = await open_llm()
        assert {document.id for document in llm.documents.list()} == {document.id for document in documents.values()}
        again = await llm.ask("When does the lease end?", session="s1")
        assert again.text == answer.text and [s.id for s in again.sources] == [s.id for s in answer.sources]
        assert [turn.role for turn in llm.sessions.history("s1")] == ["user", "assistant"] * 2
        (_, nothing), (turn, recalled), *_ = llm.history("s1")
        assert nothing is None and turn.text == answer.text and recalled == answer
        entry = llm.witness.get(answer.id)
        assert entry.quality_score == 1.0 and entry.session_id == "s1"
        assert entry.latency == answer.latency and entry.routing_decision == answer.routing
        assert entry.context_doc_ids == tuple(source.id for source in answer.sources)
        assert np.linalg.norm(entry.response_embedding) == pytest.approx(1, abs=1e-2)

    async def test_a_forgotten_document_is_found_no_more(self, open_llm):
        llm = await open_llm()
        documents = await self.told(llm)
        removed = await llm.forget(document=documents["Jonas"].id)
        assert removed.passages == removed.vectors == documents["Jonas"].passages
        for _ in range(2):
            answer = await llm.ask("Which nuts can my nephew not eat?")
            assert documents["Jonas"].id not in {source.document for source in answer.sources}
            await llm.close()
            llm = await open_llm()
        with pytest.raises(NotFoundError):
            await llm.forget(document=documents["Jonas"].id)

    async def test_history_leaves_out_forgotten_sources_and_keeps_the_numbers(self, open_llm):
        llm = await open_llm()
        documents = await self.told(llm)
        answer = await llm.ask("When does the lease end?", session="s")
        assert not answer.sources[1].highlight
        removed = await llm.forget(document=answer.sources[1].document)
        recalled = llm.history("s")[1][1]
        assert [source.number for source in recalled.sources] == [1, *range(3, len(answer.sources) + 1)] and removed.answers == 0
        assert len(documents) == len(llm.documents.list()) + 1

    async def test_answers_that_quote_a_forgotten_document_are_withdrawn(self, open_llm):
        llm = await open_llm()
        documents = await self.told(llm)
        answer = await llm.ask("When does the lease end?", session="s")
        other = await llm.ask("When do we sing?", session="s")
        removed = await llm.forget(document=documents["Lease"].id)
        assert (removed.answers, removed.witness) == (1, 1) and removed.searches >= removed.passages
        (asked, _), (turn, recalled), _, (_, kept) = llm.history("s")
        assert "2029" not in turn.text and recalled is None and asked.text == "When does the lease end?"
        assert kept.text == other.text
        assert b"31 January 2029" not in await llm.export() and answer.id not in {entry.request_id for entry in llm.witness.list()}

    async def test_a_forgotten_user_leaves_nothing(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        await llm.remember("The password of the safe is heliotrope.", title="Safe", metadata={"user_id": "ann"})
        for user in ("ann", "bob"):
            llm.sessions.open(f"of {user}", user_id=user)
            await llm.ask("What is the password of the safe?", session=f"of {user}")
        removed = await llm.forget(user="ann")
        assert (removed.documents, removed.sessions, removed.turns, removed.answers, removed.witness) == (1, 1, 2, 1, 2)
        assert removed.embeddings and removed.edges
        assert [session.user_id for session in llm.sessions.list()] == ["bob"]
        assert b"heliotrope" not in await llm.export()
        assert "Safe" not in {source.title for source in (await llm.ask("What is the password of the safe?")).sources}
        with pytest.raises(NotFoundError):
            await llm.forget(user="ann")

    async def test_what_is_asked_for_a_user_is_of_the_user(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        before = await llm.ask("When do we sing?", session="evening")
        await llm.flush()
        answer = await llm.ask("When does the lease end?", session="evening", user="ann")
        alone = await llm.ask("When does the lease end?", user="ann")
        [piece async for piece in llm.stream("When do we sing?", session="morning", user="bob")]
        await llm.flush()
        assert llm.sessions.open("evening", user_id="ann").user_id == "ann"
        mine = llm.sessions.list(user_id="ann")
        assert len(mine) == 2 and "evening" in {session.id for session in mine}
        assert {entry.request_id for entry in (await llm.witness.find(user="ann")).entries} == {answer.id, alone.id}
        for ask in (llm.ask, llm.stream):
            with pytest.raises(ConfigError, match="'ann', not to 'bob'"):
                await ask("What was said?", session="evening", user="bob")
        with pytest.raises(ConfigError, match="user"):
            await llm.ask("When do we sing?", user=" ")
        with pytest.raises(ValueError):
            await llm.ask("When do we sing?", user="ann", where={"title": {"$nonsense": 1}})
        removed = await llm.forget(user="ann")
        assert (removed.sessions, removed.turns, removed.witness) == (3, 6, 4)
        assert before.id not in {entry.request_id for entry in llm.witness.list()}
        assert [session.user_id for session in llm.sessions.list()] == ["bob"]

    async def test_a_forgotten_user_takes_records_edges_and_lessons_along_and_leaves_those_of_others(self, open_llm):
        llm = await open_llm()
        text, graph = "The password of the safe is heliotrope.", llm.memory.graph
        ann, bob = [await llm.remember(text, metadata={"user_id": user}) for user in ("ann", "bob")]
        likes = {"user_id": "ann", "n": 1}
        await llm.memory.add("notes", [Draft("Ann likes zinnias", "mine", likes), Draft("Bob likes asters", "his", {"user_id": "bob"})])
        await llm.memory.add("notes", [Draft("about ann", "about", {"about": {"user_id": "ann"}}), Draft("a seventh", "7", {"user_id": 7})])
        graph.link("ann", bob.id, "reads")
        graph.link("bob", bob.id, "reads")
        lesson = llm.patterns.learn("Zinnias please", llm.memory.vector("mine"), learned_from=["ann", "mine"])
        removed = await llm.forget(user="ann")
        assert (removed.documents, removed.passages, removed.records, removed.learned) == (1, 1, 1, 1)
        assert {record.id for record in llm.memory.select("notes")} == {"his", "about", "7"}
        assert [document.id for document in llm.documents.list()] == [bob.id]
        assert graph.edges("ann") == [] and graph.neighbours("bob", "reads") == [bob.id]
        with pytest.raises(NotFoundError):
            llm.patterns.get(lesson.id)
        image = await llm.export()
        assert b"zinnias" not in image and b"Zinnias" not in image and b"heliotrope" in image
        assert (await llm.forget(user="bob")).records == 1
        graph.link("carol", "about", "wrote")
        assert (await llm.forget(user="carol")).edges == 1
        with pytest.raises(NotFoundError):
            await llm.forget(user="about")  # a record that is called so is nobody's
        with pytest.raises(NotFoundError):
            await llm.forget(user="carol")

    async def test_what_hangs_together_is_linked_and_what_is_forgotten_lets_go(self, open_llm):
        llm = await open_llm()
        documents = await self.told(llm)
        first, again = [await llm.ask("When does the lease end?", session=name) for name in ("s", "t")]
        await llm.flush()
        await llm.memory.grown()
        graph = llm.memory.graph
        assert graph.neighbours(again.id, "similar", "out") == [first.id]
        path = graph.shortest_path("s", documents["Lease"].id)
        assert [edge.relation for edge in path] == ["contains", "recalled", "contains"]
        learned = llm.patterns.learn("Leases end when they say", llm.memory.vector(first.id), learned_from=[first.id, again.id])
        assert llm.patterns.match(llm.memory.vector(again.id), 1)[0][0].id == learned.id
        await llm.forget(session="s")
        known = {id for (id,) in llm.memory.driver.query("SELECT id FROM records UNION SELECT id FROM documents")}
        ends = {id for row in llm.memory.driver.query("SELECT source, target FROM edges") for id in row}
        assert ends and ends <= known and llm.patterns.learned_from(learned.id) == [again.id]
        assert graph.traverse([first.id, "s"]) == []

    async def test_a_forgotten_session_takes_its_turns_and_entries_along(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        gone = await llm.ask("When do we sing?", session="gone")
        kept = await llm.ask("When does the lease end?", session="kept")
        removed = await llm.forget(session="gone")
        assert (removed.turns, removed.witness) == (2, 1)
        with pytest.raises(NotFoundError):
            llm.witness.get(gone.id)
        assert llm.witness.get(kept.id).session_id == "kept"
        assert [session.id for session in llm.sessions.list()] == ["kept"]

    async def test_what_is_recorded_while_forgetting_waits_for_an_answer_goes_too(self, open_llm):
        llm = await open_llm()
        await llm.ask("When do we sing?", session="gone")
        async with llm.models.alone():
            forgetting = asyncio.ensure_future(llm.forget(session="gone"))
            await settle()
            late = entry(1, session_id="gone")
            assert llm.requests.record("gone", [{"role": "user", "text": "Still there?"}], late)
        removed = await forgetting
        assert removed.witness == 2 and not llm.witness.waits(late.request_id)
        await llm.flush()
        assert llm.witness.count({"session": "gone"}) == 0
        with pytest.raises(NotFoundError):
            llm.witness.get(late.request_id)

    async def test_export_and_restore(self, open_llm):
        llm = await open_llm()
        documents = await self.told(llm)
        image = await llm.export()
        await llm.forget(document=documents["Lease"].id)
        with pytest.raises(CorruptError):
            await llm.restore(image[: len(image) // 2])
        assert len(llm.documents.list()) == len(NOTES) - 1
        await llm.restore(image)
        assert len(llm.documents.list()) == len(NOTES)
        assert (await llm.ask("When does the lease end?")).sources[0].title == "Lease"

    async def test_the_same_bytes_open_as_the_same_memory(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        await llm.ask("When does the lease end?", session="s")
        image = await llm.export_bytes()
        copy = await pyruvllm.open_bytes(image, embedder=llm.memory.embedder)
        assert await copy.memory.driver.export() == image
        assert (await copy.ask("When does the lease end?")).text == (await llm.ask("When does the lease end?")).text
        assert [turn.text for turn in copy.sessions.history("s")] == [turn.text for turn in llm.sessions.history("s")]
        await copy.close()
        with pytest.raises(CorruptError):
            await pyruvllm.open_bytes(image[:5000])
        with pytest.raises(DuplicateError):
            await pyruvllm.open_bytes(image, llm.memory.driver.name)

    async def test_a_name_is_free_again_after_bytes_did_not_open_under_it(self, open_llm):
        llm = await open_llm()
        await llm.remember(NOTES["Lease"], title="Lease")
        image, name, failing = await llm.export_bytes(), f"{llm.memory.driver.name}-copy", WordEmbedder()
        failing.fail_at = 0
        with pytest.raises(EmbeddingError):  # what another model embedded is embedded anew, and that fails
            await pyruvllm.open_bytes(image, name, embedder=failing)
        copy = await pyruvllm.open_bytes(image, name)
        assert [document.title for document in copy.documents.list()] == ["Lease"]
        await copy.close()
        await delete_database(name)

    async def test_what_it_takes_adds_up_by_collection(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        answer = await llm.ask("When does the lease end?", session="s")
        await llm.flush()
        found = await llm.storage()
        parts = sum(share.bytes for share in found.collections.values()) + found.edges
        parts += sum(found.caches.values()) + sum(found.other.values()) + found.structure + found.free
        assert parts == found.size == llm.memory.driver.size()
        assert found.structure > 0 and found.free >= 0
        documents = found.collections["documents"]
        assert documents.rows == llm.memory.count("documents")
        assert documents.vectors == documents.rows * 768 * 2
        assert documents.text > 2 * sum(len(text) for text in NOTES.values())  # whole, and as passages
        assert documents.edges == llm.memory.graph.count("contains") - 1 + llm.memory.graph.count("follows")
        assert found.collections["sessions"].text > len(answer.text)
        assert found.collections["witness"].rows == 1

    async def test_room_is_made_of_what_can_be_made_again(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        llm.memory.driver.executemany(
            "INSERT INTO embeddings (space, hash, vector, used_at) VALUES ('old', ?, ?, 0)",
            [(number.to_bytes(16, "big"), bytes(1536)) for number in range(700)],
        )
        await llm.flush()
        before = {title: (await llm.ask(question)).text for question, title in QUESTIONS.items()}
        size = llm.memory.driver.size()
        made = await llm.make_room(indexes=True)
        assert made.embeddings >= 700 and made.compacted
        assert (made.before, made.after) == (size, llm.memory.driver.size()) and made.after < size - 700 * 1536
        assert {title: (await llm.ask(question)).text for question, title in QUESTIONS.items()} == before
        name = llm.memory.driver.name
        await llm.close()
        llm = await open_llm()
        assert llm.memory.driver.name == name and llm.memory.driver.size() < size - 700 * 1536
        assert {title: (await llm.ask(question)).text for question, title in QUESTIONS.items()} == before

    async def test_what_another_model_embedded_is_embedded_anew(self, open_llm):
        llm = await open_llm(embedder=WordEmbedder())
        await self.told(llm)
        await llm.close()
        llm = await open_llm()
        assert {c.space for c in llm.memory.collections()} == {llm.memory.embedder.space.key}
        answer = await llm.ask("Which nuts can my nephew not eat?")
        assert answer.sources[0].title == "Jonas" and answer.sources[0].why.similarity > 0.5

    async def test_a_read_only_opening_still_answers(self, open_llm):
        writer = await open_llm()
        await self.told(writer)
        reader = await open_llm(readonly=True)
        assert writer.writable and not reader.writable
        answer = await reader.ask("When does the lease end?")
        assert answer.sources[0].title == "Lease" and not answer.recorded

    async def test_a_failed_request_is_witnessed(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        with pytest.raises(ValueError):
            await llm.ask("When does the lease end?", where={"title": {"$nonsense": 1}})
        (entry,) = llm.witness.list()
        assert entry.error.kind == "FilterError" and "$nonsense" in entry.error.message

    async def test_a_request_that_cannot_be_routed_is_witnessed(self, open_llm):
        llm = await open_llm()
        policy = llm.policies.put(PolicyEntry("router", {"fallback": {"model": "700M"}}, "background_loop"))
        assert (await llm.ask("When does the lease end?")).routing.model == "700M"
        llm.memory.driver.execute(
            "UPDATE policies SET parameters = ? WHERE number = (SELECT number FROM records WHERE id = ?)", ['{"fallback": 3}', policy.id]
        )
        llm.policies.invalidate()
        with pytest.raises(ConfigError, match="fallback"):
            await llm.ask("When does the lease end?")
        [entry] = llm.witness.list({"error.kind": "ConfigError"})
        assert entry.routing_decision.model == "1.2B" and entry.routing_decision.policy == BUNDLED[0].id

    async def test_an_answer_that_the_log_cannot_take_says_so(self, open_llm):
        llm = await open_llm(config=Config(writeback=WritebackConfig(bound=1, wait_ms=60_000)))
        first, second = [await llm.ask("When does the lease end?", session="s") for _ in range(2)]
        assert (first.recorded, second.recorded) == (True, False)
        await llm.flush()
        assert [entry.request_id for entry in llm.witness.list()] == [first.id]
        assert (await llm.ask("And then?", session="s")).recorded and llm.sessions.get("s").turn_count == 6

    async def test_bad_arguments_are_refused(self, open_llm):
        llm = await open_llm()
        with pytest.raises(ConfigError):
            await llm.ask("  ")
        with pytest.raises(ConfigError):
            await llm.remember(b"\xff\xfe\x00binary", title="photo.jpg")
        with pytest.raises(ConfigError):
            await llm.forget()
        with pytest.raises(ConfigError):
            await llm.feedback("x", 7)
        with pytest.raises(NotFoundError):
            await llm.feedback("no such answer", 0.5)
        assert llm.documents.list() == []

    async def test_latencies_of_kernels_survive_a_restart(self, open_llm):
        llm = await open_llm()
        values = {"x": llm.kernels.empty(300, np.float16), "y": llm.kernels.empty(300, np.float32), "n": 300}
        values["x"][:] = 1.5
        for _ in range(3000):
            llm.kernels.run("widen", **values)
            if llm.kernels.changes:
                break
        assert (values["y"] == 1.5).all()
        await llm.close()
        again = await open_llm()
        assert again.kernels.statistics() == llm.kernels.statistics() != {}
        assert [entry.parameters["engine"] for entry in again.policies.list("kernel")] == [llm.kernels.engine, ""], "and the bundled one"

    async def test_a_pack_of_kernels_that_is_refused_is_witnessed_once(self, open_llm):
        llm = await open_llm()
        DriverShelf(llm.memory.driver, "core").write({CURRENT: {"manifest.json": b"{}"}})
        for _ in range(3):
            await llm.close()
            llm = await open_llm()
            assert llm.kernels.best("widen", n=300).operation.name == "widen"
        refused = llm.witness.list({"session": "kernels"})
        told = [(entry.query, entry.model_used, entry.error.kind) for entry in refused]
        assert told == [("Kernels: the current pack", "none", "PackError")]
        assert "unsigned" in refused[0].error.message

    # sealed

    async def test_a_sealed_memory_is_locked_and_opened_again(self, open_llm):
        llm = await open_llm(passphrase="net loft")
        await llm.remember(NOTES["Jonas"], title="Jonas")
        assert llm.protection.passphrase and not llm.locked
        stream = llm.stream("Which nuts can my nephew not eat?")
        await llm.lock()
        await llm.lock()  # what is locked stays so
        assert llm.locked
        for act in (lambda: llm.ask("Which nuts?"), lambda: llm.remember("more"), llm.flush, llm.export, lambda: anext(aiter(stream))):
            with pytest.raises(LockedError, match="locked"):
                await act()
        for act in (lambda: llm.history("any"), lambda: llm.patterns.list(), lambda: llm.policies.list()):
            with pytest.raises(LockedError):
                act()
        with pytest.raises(PassphraseError):
            await llm.unlock("fish loft")
        assert llm.locked
        await llm.unlock("net loft")
        assert "hazelnuts" in (await llm.ask("Which nuts can my nephew not eat?")).text
        await llm.lock()
        await llm.close()

    async def test_nothing_holds_a_locked_memory(self, open_llm):
        llm = await open_llm(passphrase="net loft")
        await self.told(llm)
        answer = await llm.ask("Which nuts can my nephew not eat?", session="s")
        llm.patterns.learn("Nuts are asked about.", llm.memory.vector(answer.sources[0].id), learned_from=[answer.id])
        parts = [weakref.ref(part) for part in (llm.memory, llm.memory.collection("documents").index, llm.patterns, llm.witness)]
        await llm.lock()  # collects, too
        assert [part() for part in parts] == [None] * 4
        await llm.unlock("net loft")
        assert len(llm.patterns.list()) == 1

    async def test_a_memory_that_is_not_sealed_has_no_lock(self, open_llm):
        llm = await open_llm()
        with pytest.raises(StorageError, match="not sealed"):
            await llm.lock()
        assert llm.protection is None and not llm.locked

    async def test_protecting_and_changing_keys_keeps_what_is_remembered(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        await llm.protect(device_key=True)
        await llm.change_keys(passphrase="first", device_key=True)
        await llm.change_keys(current="first", passphrase="second")
        await llm.close()
        with pytest.raises(LockedError):
            await open_llm()
        with pytest.raises(PassphraseError):
            await open_llm(passphrase="first")
        llm = await open_llm(passphrase="second")
        assert "2029" in (await llm.ask("When does the lease end?")).text
        await llm.unprotect()
        await llm.close()
        llm = await open_llm()
        assert "2029" in (await llm.ask("When does the lease end?")).text

    async def test_a_sealed_export_is_restored_with_its_passphrase(self, open_llm):
        llm = await open_llm()
        await self.told(llm)
        file = await llm.export(passphrase="travel")
        assert b"hazelnuts" not in file and b"hazelnuts" in await llm.export()
        other = await open_llm("other", device_key=True)
        refused = ((file, None, LockedError), (file, "wrong", PassphraseError), (b"no file", "travel", CorruptError))
        for content, passphrase, kind in refused:
            with pytest.raises(kind):
                await other.restore(content, passphrase=passphrase)
        await other.restore(file, passphrase="travel")
        assert other.protection.device_key
        assert "2029" in (await other.ask("When does the lease end?")).text

    async def test_an_idle_memory_locks_itself(self, open_llm):
        llm = await open_llm(device_key=True, config=Config(lock_after_minutes=0.02))
        await llm.remember(NOTES["Jonas"], title="Jonas")
        async with asyncio.timeout(10):
            while not llm.locked:
                await asyncio.sleep(0.05)
        await llm.unlock()
        llm.lock_after(None)
        assert "hazelnuts" in (await llm.ask("Which nuts can my nephew not eat?")).text
        with pytest.raises(ConfigError):
            llm.lock_after(0)
