"""What the document store promises."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.embed.cache import CachedEmbedder, digest
from pyruvllm.errors import ConfigError, EmbeddingError, NotFoundError, QuotaError
from pyruvllm.memory.documents import DocumentStore, title_of
from tests.contracts.stores import FullDisk, WordEmbedder, another, tables

HARBOUR = """# The harbour

The harbour has two pontoons. The west pontoon is ours. Mooring 47 is paid until October.

## Tides

High water comes twelve minutes later each day. The tide table hangs in the net loft. Spring tides cover the slip.
"""
LONG = " ".join(f"Sentence number {i} speaks of item{i} and of harbours." for i in range(120))  # ~ 24 passages of 40 words


class DocumentsContract:
    async def test_a_text_of_two_users_is_a_document_of_each(self, open_memory):
        memory = await open_memory()
        documents = DocumentStore(memory)
        text = "The safe opens with heliotrope."
        ann, bob = [await documents.add(title, text, metadata={"user_id": title}) for title in ("ann", "bob")]
        nobody = await documents.add("nobody", text)
        assert len({ann.id, bob.id, nobody.id}) == 3
        for one in (ann, bob):
            assert await documents.add("again", text, metadata={"user_id": one.title}) == one
            hits = await memory.search("heliotrope", 10, where={"user_id": one.title}, collections="documents")
            assert {hit.metadata["document"] for hit in hits} == {one.id}
        assert await documents.add("again", text) == nobody
        await documents.delete(ann.id)
        assert [document.id for document in documents.list()] == [bob.id, nobody.id]

    async def test_a_text_from_before_documents_had_owners_is_still_its_owners(self, open_memory):
        memory = await open_memory()
        documents = DocumentStore(memory)
        text = "The safe opens with heliotrope."
        old = await documents.add("old", text)
        memory.driver.execute("UPDATE documents SET details = ?", ['{"user_id":"ann"}'])
        assert (await documents.add(None, text, metadata={"user_id": "ann"})).id == old.id
        assert (await documents.add(None, text, metadata={"user_id": "bob"})).id != old.id

    async def test_a_document_is_whole_and_its_passages_are_found(self, open_memory):
        memory = await open_memory()
        store = DocumentStore(memory)
        document = await store.add("Harbour", HARBOUR, media_type="text/markdown", metadata={"notebook": "Marta"})
        assert (document.title, document.media_type, document.size) == ("Harbour", "text/markdown", len(HARBOUR.encode()))
        assert document.metadata == {"notebook": "Marta"}
        assert document.created_at == memory.clock.now_ms()
        assert store.get(document.id) == document
        assert store.list() == [document]
        assert store.text(document.id) == HARBOUR
        passages = store.passages(document.id)
        assert len(passages) == document.passages > 1
        for ordinal, passage in enumerate(passages):
            own = passage.metadata
            assert passage == memory.get(passage.id)
            assert (own["document"], own["title"], own["ordinal"], own["notebook"]) == (document.id, "Harbour", ordinal, "Marta")
            assert HARBOUR[own["start"] : own["end"]] == passage.text
        assert {passage.metadata["heading"] for passage in passages} >= {"Tides"}
        hits = await memory.search("tide table", 1)
        assert hits[0].metadata["heading"] == "Tides"
        assert await memory.search("tide table", 1, where={"document": "another"}) == []

    async def test_the_graph_says_what_contains_and_follows_what(self, open_memory):
        memory = await open_memory()
        store = DocumentStore(memory)
        document = await store.add("Long", LONG)
        ids = [passage.id for passage in store.passages(document.id)]
        assert set(memory.graph.neighbours(document.id, "contains", "out")) == set(ids)
        for earlier, later in zip(ids, ids[1:], strict=False):
            assert memory.graph.neighbours(later, "follows", "out") == [earlier]

    async def test_progress_counts_passages(self, open_memory):
        seen = []
        document = await DocumentStore(await open_memory()).add("Long", LONG, progress=lambda done, total: seen.append((done, total)))
        assert seen[0] == (0, document.passages)
        assert seen[-1] == (document.passages, document.passages)
        assert len(seen) > 2
        assert seen == sorted(seen)

    async def test_the_same_text_again_is_the_document_that_is_there(self, open_memory):
        embedder = WordEmbedder()
        memory = await open_memory(embedder=embedder)
        store = DocumentStore(memory)
        first = await store.add("One", LONG)
        before, asked = tables(memory), embedder.asked
        assert await store.add("Another title", LONG) == first
        assert (tables(memory), embedder.asked) == (before, asked)

    async def test_the_same_text_added_twice_at_once_is_one_document(self, open_memory):
        store = DocumentStore(await open_memory())
        first, second = await asyncio.gather(store.add("One", LONG), store.add("Two", LONG))
        assert first == second
        assert len(store.list()) == 1

    async def test_it_is_there_after_reopening(self, open_memory):
        memory = await open_memory()
        document = await DocumentStore(memory).add("Harbour", HARBOUR)
        await memory.close()
        memory = await open_memory()
        store = DocumentStore(memory)
        assert store.list() == [document]
        assert (await memory.search("net loft", 1))[0].metadata["document"] == document.id

    async def test_delete_takes_everything_and_counts_it(self, open_memory):
        memory = await open_memory()
        store = DocumentStore(memory)
        kept = await store.add("Harbour", HARBOUR)
        before = tables(memory)
        document = await store.add("Long", LONG)
        memory.graph.link("elsewhere", document.id, "cites")
        removed = await store.delete(document.id)
        assert (removed.passages, removed.vectors) == (document.passages, document.passages)
        assert removed.edges == 2 * document.passages  # contains, follows between them, and the citation
        assert tables(memory) == before
        assert store.list() == [kept]
        assert not any("item7" in hit.text for hit in await memory.search("item7", 10))
        for gone in (store.get, store.text, store.passages):
            with pytest.raises(NotFoundError, match=document.id):
                gone(document.id)
        with pytest.raises(NotFoundError):
            await store.delete(document.id)
        assert (await store.add("Long", LONG)).passages == document.passages

    async def test_the_cache_of_embeddings_forgets_a_deleted_document_too(self, open_memory):
        memory = await open_memory()
        store = DocumentStore(memory)
        document = await store.add("Harbour", HARBOUR)
        texts = [passage.text for passage in store.passages(document.id)]
        await CachedEmbedder(memory.embedder, memory.driver).embed(texts)
        hashes = {digest(text) for text in texts}
        assert {row[0] for row in memory.driver.query("SELECT hash FROM embeddings")} == hashes
        await store.delete(document.id)
        assert not {row[0] for row in memory.driver.query("SELECT hash FROM embeddings")} & hashes

    async def test_a_passage_deleted_on_its_own_is_no_passage_any_more(self, open_memory):
        memory = await open_memory()
        store = DocumentStore(memory)
        document = await store.add("Long", LONG)
        await memory.delete([store.passages(document.id)[3].id])
        assert store.get(document.id).passages == document.passages - 1 == len(store.passages(document.id))
        assert (await store.delete(document.id)).passages == document.passages - 1

    async def test_an_embedder_that_fails_leaves_nothing(self, open_memory):
        embedder = WordEmbedder()
        memory = await open_memory(embedder=embedder)
        before, embedder.fail_at = tables(memory), 20
        with pytest.raises(EmbeddingError, match="gave up"):
            await DocumentStore(memory).add("Long", LONG)
        assert tables(memory) == before

    async def test_a_cancelled_add_leaves_nothing(self, open_memory):
        memory = await open_memory()
        before = tables(memory)
        store = DocumentStore(memory)
        adding = asyncio.ensure_future(store.add("Long", LONG, progress=lambda done, total: done and adding.cancel()))
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert tables(memory) == before
        assert (await store.add("Long", LONG)).passages > 0

    async def test_a_full_disk_leaves_nothing(self, open_memory):
        memory = await open_memory()
        store = DocumentStore(memory)
        before = tables(memory)
        with FullDisk(memory), pytest.raises(QuotaError):
            await store.add("Long", LONG)
        assert tables(memory) == before
        assert await memory.search("item7", 5) == []
        await store.add("Long", LONG)
        assert len(await memory.search("item7", 5)) > 0

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "empty"),
            (" \n\t\u2003 ", "empty"),
            ("PK\x03\x04\0\0binary", "NUL character at 4"),
            ("half \ud83d of a pair", "half of a surrogate pair at 5"),
            (b"bytes", "a string, not bytes"),
        ],
    )
    async def test_what_is_no_text_is_refused(self, open_memory, text, reason):
        memory = await open_memory()
        before = tables(memory)
        with pytest.raises(ConfigError, match=reason):
            await DocumentStore(memory).add("Title", text)
        assert tables(memory) == before

    @pytest.mark.parametrize(
        ("metadata", "reason"),
        [
            ({"document": "x"}, "'document', which is one of a passage's own"),
            ({"a": object()}, "metadata is"),
            ({"a": float("nan")}, "metadata is"),
            ({1: "a"}, "metadata is"),
        ],
    )
    async def test_metadata_that_cannot_be_kept_is_refused(self, open_memory, metadata, reason):
        with pytest.raises(ConfigError, match=reason):
            await DocumentStore(await open_memory()).add("Title", HARBOUR, metadata=metadata)

    async def test_one_enormous_line_becomes_passages(self, open_memory):
        memory = await open_memory()
        store = DocumentStore(memory)
        line = "word and " * 4000 + "x" * 20_000
        document = await store.add("Line", line)
        passages = store.passages(document.id)
        assert len(passages) > 100
        covered = [False] * len(line)
        for passage in passages:
            covered[passage.metadata["start"] : passage.metadata["end"]] = [True] * len(passage.text)
        assert all(seen or line[place].isspace() for place, seen in enumerate(covered))

    async def test_without_a_title_the_text_gives_one(self, open_memory):
        store = DocumentStore(await open_memory())
        assert (await store.add(None, HARBOUR, media_type="text/markdown")).title == "The harbour"
        assert (await store.add("  ", "First line.\nSecond line.")).title == "First line."

    @pytest.mark.parametrize(
        ("text", "media_type", "title"),
        [
            ("intro\n\n## Second level ##\ntext", "text/markdown", "Second level"),
            ("Underlined\n==========\n", "text/markdown", "Underlined"),
            ("#hashtag is no heading\n\nmore", "text/markdown", "#hashtag is no heading"),
            ("---\n\nAfter a rule", "text/markdown", "After a rule"),
            ("# Not Markdown", "text/plain", "# Not Markdown"),
            ("***\n---", "text/plain", "***"),
            ("word " * 100, "text/plain", ("word " * 39).strip() + "…"),
        ],
    )
    async def test_titles(self, text, media_type, title):
        assert title_of(text, media_type) == title

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=400))
    async def test_any_text_is_kept_as_it_is_or_refused(self, open_memory, text):
        memory = await open_memory(another())
        store = DocumentStore(memory)
        before = tables(memory)
        try:
            document = await store.add("Title", text)
        except (ConfigError, EmbeddingError):
            assert tables(memory) == before
        else:
            assert store.text(document.id) == text
            await store.delete(document.id)
            assert tables(memory) == before
