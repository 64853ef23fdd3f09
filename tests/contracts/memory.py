"""What the unified memory promises. Bound by the fixture ``open_memory`` of ``tests.contracts.stores``.

Vectors come from that module's WordEmbedder, a further implementation of the Embedder protocol: fast and the same everywhere. The real
model is under test in ``tests.contracts.embedder`` and in ``tests.bench.locomo``.
"""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pyruvllm.config import Config, IndexConfig
from pyruvllm.embed.space import Space
from pyruvllm.errors import ConfigError, DuplicateError, EmbeddingError, FilterError, NotFoundError, SpaceError
from pyruvllm.memory.graph import Edge
from pyruvllm.types import Draft
from tests.contracts.stores import WordEmbedder, tables, vector

TEXTS = {
    "cat": "The cat sleeps on the warm windowsill all day.",
    "dog": "A dog barks at the postman every morning.",
    "harbour": "Fishing boats leave the harbour before dawn.",
    "bread": "Sourdough bread needs a lively starter and patience.",
}
SMALL = Config(index=IndexConfig(m=4, ef_construction=16, exact_below=20))


def animals(**metadata):
    return [Draft(text, name, {"kind": name, **metadata}) for name, text in TEXTS.items()]


def snapshot(memory, collections=("documents",)):
    """Everything that a search can tell, for a few questions in every mode."""
    questions = ("where does the cat sleep?", "boats before dawn", "bread", "matter number 7")
    return [
        memory.search_with(text, vector(place), 7, collections=collections, mode=mode)
        for place, text in enumerate(questions)
        for mode in ("hybrid", "vector", "text")
    ]


def ids(hits):
    return [hit.id for hit in hits]


def hoard(count, first=0):
    return [Draft(f"matter number {place} of the hoard", f"h{place}", {"n": place}, vector(place)) for place in range(first, first + count)]


class MemoryContract:
    async def test_what_was_added_comes_back_as_it_was(self, open_memory):
        memory = await open_memory()
        written = await memory.add("documents", [Draft("Grüße, 世界 🎈", "g", {"a": {"b": [1, 2.5, None, True, "x"]}}), "no id"])
        assert memory.get("g") == written[0]
        assert written[0].metadata == {"a": {"b": [1, 2.5, None, True, "x"]}}
        assert written[1].id and written[0].created_at == written[0].updated_at == memory.clock.now_ms()
        assert memory.count("documents") == 2 and len(memory.collection("documents")) == 2
        expected = (await memory.embedder.embed(["Grüße, 世界 🎈"]))[0]
        assert memory.vector("g").dtype == np.float32 and np.array_equal(memory.vector("g"), expected)

    async def test_progress_counts_embedded_texts(self, open_memory):
        memory, seen = await open_memory(), []
        await memory.add("documents", [f"text {place}" for place in range(70)], progress=lambda *at: seen.append(at))
        assert seen[-1] == (70, 70) and len(seen) > 1 and seen == sorted(seen)

    async def test_a_failing_model_leaves_nothing(self, open_memory):
        embedder = WordEmbedder()
        memory = await open_memory(embedder=embedder)
        embedder.fail_at = 40
        with pytest.raises(EmbeddingError):
            await memory.add("documents", [f"text {place}" for place in range(50)])
        assert set(tables(memory).values()) == {0} and len(memory.collection("documents")) == 0

    async def test_a_cancelled_add_leaves_nothing(self, open_memory):
        memory = await open_memory()
        task = asyncio.ensure_future(memory.add("documents", [f"text {place}" for place in range(200)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert set(tables(memory).values()) == {0}

    async def test_taken_ids_are_refused_and_nothing_is_written(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        before = tables(memory), snapshot(memory)
        for drafts in ([Draft("x", "new"), Draft("y", "cat")], [Draft("x", "twice"), Draft("y", "twice")]):
            with pytest.raises(DuplicateError, match="cat|twice"):
                memory.put("others", drafts)
        assert (tables(memory), snapshot(memory)) == before

    @pytest.mark.parametrize(
        "draft",
        [
            Draft("NUL \0 inside"),
            Draft("half \ud800 pair"),
            Draft("x", "id\0"),
            Draft("x", metadata={"n": float("nan")}),
            Draft("x", metadata={"o": object()}),
            Draft("x", metadata={1: "one"}),
            Draft("x", metadata={"s": "\udfff"}),
            Draft("x", vector=np.zeros(768, np.float32)),
            Draft("x", vector=np.full(768, np.nan, np.float32)),
        ],
    )
    async def test_what_could_not_be_given_back_is_refused(self, open_memory, draft):
        memory = await open_memory()
        with pytest.raises(ConfigError):
            memory.put("documents", [Draft("good", "good"), draft])
        assert set(tables(memory).values()) == {0}

    async def test_update_is_found_by_its_new_text_only(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        memory.clock.now += 5000
        record = await memory.update("cat", text="A lighthouse blinks over the bay.")
        assert record.updated_at == record.created_at + 5000 and record.metadata == {"kind": "cat"}
        assert ids(await memory.search("lighthouse bay", 1)) == ["cat"]
        assert await memory.search("windowsill", 5, mode="text") == []
        expected = (await memory.embedder.embed([record.text]))[0]
        assert np.array_equal(memory.vector("cat"), expected)
        record = await memory.update("cat", metadata={"seen": 1})
        assert record.metadata == {"seen": 1} and record.text.startswith("A lighthouse")
        with pytest.raises(NotFoundError, match="nobody"):
            await memory.update("nobody", text="x")

    async def test_delete_removes_everything(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        memory.graph.link("dog", "cat", "follows")
        memory.graph.link("session-1", "cat", "cites")
        memory.graph.link("harbour", "dog", "follows")
        assert await memory.delete(["cat"]) == 1
        left = tables(memory)
        assert (left["records"], left["vectors"], left["postings"], left["edges"]) == (3, 3, 3, 1)
        assert all("cat" not in ids(hits) for hits in snapshot(memory))
        assert await memory.search("windowsill", mode="text") == []
        with pytest.raises(NotFoundError):
            memory.get("cat")
        await memory.add("documents", [Draft("A cat again.", "cat")])
        assert ids(await memory.search("cat", 1)) == ["cat"] and memory.graph.edges("cat") == []

    async def test_an_unknown_id_removes_nothing(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        before = tables(memory), snapshot(memory)
        with pytest.raises(NotFoundError, match="nobody"):
            memory.remove(["cat", "nobody"])
        assert (tables(memory), snapshot(memory)) == before

    async def test_delete_by_filter_and_by_collection(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        assert await memory.delete(collection="documents", where={"kind": {"$in": ["cat", "dog"]}}) == 2
        assert sorted(record.id for record in memory.select("documents")) == ["bread", "harbour"]
        with pytest.raises(ConfigError):
            await memory.delete()
        assert await memory.delete(collection="documents") == 2
        assert tables(memory)["records"] == 0

    async def test_a_failed_transaction_leaves_no_trace_nested_or_not(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        before = tables(memory), snapshot(memory)
        with pytest.raises(ZeroDivisionError), memory.transaction():
            memory.put("documents", [Draft("a cat ghost", "ghost", vector=vector(0))])
            memory.put("fresh", [Draft("first of its collection", "first", vector=vector(1))])
            memory.remove(["dog"])
            memory.revise("bread", text="cat cat cat", vector=vector(2))
            memory.graph.link("cat", "bread", "follows")
            raise ZeroDivisionError
        assert (tables(memory), snapshot(memory)) == before
        assert memory.collection("fresh").space is None
        with memory.transaction():
            memory.put("documents", [Draft("outer boats", "outer", vector=vector(3))])
            with pytest.raises(ZeroDivisionError), memory.transaction():
                memory.put("documents", [Draft("inner boats", "inner", vector=vector(4))])
                memory.remove(["outer", "cat"])
                raise ZeroDivisionError
            memory.revise("outer", metadata={"kept": True})
        hits = memory.search_with("boats", vector(3), 9)
        assert "inner" not in ids(hits) and {"outer", "cat"} <= set(ids(hits))
        assert memory.get("outer").metadata == {"kept": True}

    async def test_inside_a_transaction_rows_are_new_and_what_is_gone_is_not_found(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        with memory.transaction():
            memory.put("documents", [Draft("cat number two", "two", vector=vector(1))])
            memory.remove(["cat"])
            assert memory.count("documents") == 4 and memory.get("two").text == "cat number two"
            hits = memory.search_with("cat windowsill", vector(1), 4)
            assert "cat" not in ids(hits) and len(hits) == 3
        assert ids(memory.search_with("cat", None, mode="text")) == ["two"]

    async def test_put_revised_and_removed_in_one_transaction(self, open_memory):
        memory = await open_memory()
        with memory.transaction():
            memory.put("documents", [Draft("one", "one", vector=vector(1)), Draft("two", "two", vector=vector(2))])
            memory.revise("one", text="uno", vector=vector(3))
            memory.remove(["two"])
        assert ids(memory.search_with("uno", vector(3), 5)) == ["one"]
        assert memory.search_with("one two", None, 5, mode="text") == []

    async def test_reopened_it_answers_the_same(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        await memory.add("notes", [f"note about boats, number {place}" for place in range(30)])
        memory.graph.link_many([Edge("dog", "cat", "follows"), Edge("harbour", "dog", "follows")])
        memory.revise("dog", metadata={"title": "Boats"})
        await memory.delete(["bread"])
        before = snapshot(memory, ("documents", "notes"))
        await memory.close()
        again = await open_memory()
        assert snapshot(again, ("documents", "notes")) == before
        assert again.collection("documents").space == again.embedder.space.key

    async def test_reopened_it_answers_the_same_to_the_last_bit(self, open_memory):
        memory = await open_memory()
        memory.put("documents", hoard(90))
        memory.remove([f"h{place}" for place in range(0, 90, 4)])
        memory.put("documents", hoard(20, first=100))  # into the gaps, and at the end after the next open

        def cosines():
            hits = [hit for place in range(30) for hit in memory.search_with(None, vector(1000 + place), 90)]
            return [(hit.id, hit.score) for hit in hits]

        before = cosines()
        await memory.close()
        memory = await open_memory()
        assert cosines() == before

    async def test_hybrid_says_why(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        memory.graph.link("dog", "cat", "follows")
        hits = await memory.search("Where do CATS sleep, on a windowsill?", 4)
        assert hits[0].id == "cat" and len(hits) == 4
        assert hits[0].why.terms == ("CATS", "sleep", "windowsill")
        assert hits[0].why.text_rank == 1 and hits[0].why.bm25 > 0
        query = (await memory.embedder.embed(["Where do CATS sleep, on a windowsill?"]))[0]
        for hit in hits:
            assert hit.why.similarity == pytest.approx(float(query @ memory.vector(hit.id)), abs=1e-3)
        assert sorted(hit.why.vector_rank for hit in hits) == [1, 2, 3, 4]
        dog = next(hit for hit in hits if hit.id == "dog")
        assert dog.why.graph == ("follows a passage that matches",) and dog.why.terms == () and dog.why.bm25 is None
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert hits[0].text == TEXTS["cat"] and hits[0].metadata == {"kind": "cat"} and hits[0].collection == "documents"

    async def test_a_neighbour_is_lifted_above_its_equals(self, open_memory):
        memory = await open_memory()
        same = (await memory.embedder.embed(["nothing in common"]))[0]
        drafts = [Draft("nothing in common", f"n{place}", vector=same) for place in range(5)] + [Draft("zeppelin", "z")]
        await memory.add("documents", drafts)
        memory.graph.link("z", "n3", "follows")
        assert ids(await memory.search("zeppelin", 3)) == ["z", "n3", "n0"]

    async def test_a_neighbour_outside_the_filter_or_the_collections_stays_outside(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", [Draft("zeppelin", "z", {"in": 1}), Draft("unrelated", "out", {"in": 0})])
        await memory.add("notes", [Draft("elsewhere", "else", {"in": 1})])
        memory.graph.link("z", "out", "follows")
        memory.graph.link("else", "z", "follows")
        assert ids(await memory.search("zeppelin", 5, where={"in": 1})) == ["z"]

    async def test_the_modes(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        text = await memory.search("boats and bread", 5, mode="text")
        assert {hit.id for hit in text} == {"harbour", "bread"} and all(hit.why.similarity is None for hit in text)
        assert all(hit.score == hit.why.bm25 for hit in text)
        near = await memory.search("boats and bread", 5, mode="vector")
        assert len(near) == 4 and all(hit.why.bm25 is None and hit.score == hit.why.similarity for hit in near)
        by_vector = await memory.search(memory.vector("dog"), 1)
        assert ids(by_vector) == ["dog"] and by_vector[0].score == pytest.approx(1, abs=1e-3)
        assert await memory.search("   ", 3) == []
        assert ids(await memory.search("the who of is", 2)) != []  # stop words alone: by meaning

    async def test_never_fewer_than_k_when_the_filter_leaves_k(self, open_memory):
        memory = await open_memory()
        memory.put("documents", hoard(300))
        for where, there in (({"n": {"$gte": 290}}, 10), ({"n": {"$lt": 2}}, 2), ({"n": -1}, 0)):
            for mode in ("hybrid", "vector", "text"):
                hits = memory.search_with("matter of the hoard", vector(5), 10, where=where, mode=mode)
                assert len(hits) == min(10, there)
        assert len(memory.search_with("nothing shared", vector(5), 250)) == 250

    async def test_several_collections_are_scored_as_one(self, open_memory):
        memory = await open_memory()
        drafts = animals()
        memory.put("a", drafts[:1])
        memory.put("b", drafts[1:])
        memory.put("one", [replace(draft, id=f"{draft.id}'") for draft in drafts])
        parted = memory.search_with("a cat, boats and patience", vector(0), 4, collections=("a", "b"), mode="text")
        whole = memory.search_with("a cat, boats and patience", vector(0), 4, collections="one", mode="text")
        assert [(hit.id + "'", hit.score) for hit in parted] == [(hit.id, hit.score) for hit in whole]
        assert {hit.collection for hit in parted} == {"a", "b"}
        assert memory.search_with("cat", None, collections=("a", "nowhere"), mode="text") != []
        assert memory.search_with("cat", vector(0), collections=("nowhere",)) == []

    async def test_metadata_titles_are_searched_too(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", [Draft("Feed it twice a day.", "f", {"title": "Sourdough", "heading": "Starter"}), *animals()])
        assert "f" in ids(await memory.search("sourdough starter", 2, mode="text"))

    @pytest.mark.parametrize("changes", [{"k": 0}, {"k": True}, {"k": 2.5}, {"mode": "magic"}])
    async def test_bad_questions_are_refused(self, open_memory, changes):
        memory = await open_memory()
        await memory.add("documents", animals())
        with pytest.raises(ConfigError):
            memory.search_with("cat", vector(0), **{"k": 5, **changes})

    async def test_a_record_without_a_vector_is_found_by_its_words(self, open_memory):
        memory = await open_memory()
        memory.put("documents", [Draft("a zeppelin", "z"), Draft("other", "o", vector=vector(1))])
        assert ids(memory.search_with("zeppelin", vector(9), 2)) == ["z", "o"]
        assert ids(memory.search_with(None, vector(1), 5)) == ["o"]
        with pytest.raises(NotFoundError, match="no vector"):
            memory.vector("z")
        memory.revise("z", vector=vector(2))
        assert ids(memory.search_with(None, vector(2), 1)) == ["z"]

    @pytest.mark.parametrize("wrong", [np.ones(384, np.float32), np.ones((1, 768), np.float32), np.array(["x"] * 768)])
    async def test_a_vector_of_another_dimension_is_refused(self, open_memory, wrong):
        memory = await open_memory()
        with pytest.raises(SpaceError, match="768"):
            memory.put("documents", [Draft("x", vector=wrong)])
        await memory.add("documents", animals())
        with pytest.raises(SpaceError):
            memory.revise("cat", vector=wrong)
        with pytest.raises(SpaceError):
            await memory.search(wrong, 3)

    async def test_another_model_is_refused_until_the_collection_is_embedded_anew(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        memory.put("documents", [Draft("", "empty", vector=vector(1))])
        await memory.close()
        other = WordEmbedder()
        other.space = Space("words", "2")
        memory = await open_memory(embedder=other)
        for attempt in (
            lambda: memory.put("documents", [Draft("x", vector=vector(1))]),
            lambda: memory.revise("cat", vector=vector(1)),
            lambda: memory.search_with("cat", vector(1)),
        ):
            with pytest.raises(SpaceError, match="words@1.*words@2"):
                attempt()
        with pytest.raises(SpaceError):
            await memory.add("documents", ["x"])
        assert other.asked == 0
        assert ids(await memory.search("cat", 1, mode="text")) == ["cat"]  # words know no space
        seen = []
        assert await memory.reembed("documents", progress=lambda *at: seen.append(at)) == 4
        assert seen[-1] == (4, 4) and memory.collection("documents").space == "words@2/768"
        await memory.add("documents", [Draft("a new one", "new")])
        before = snapshot(memory)
        await memory.close()
        assert snapshot(await open_memory(embedder=other)) == before

    async def test_reembedding_takes_in_what_is_written_meanwhile(self, open_memory):
        memory = await open_memory()
        memory.put("documents", hoard(80))

        def meddle(done, total):
            if done == 32:
                memory.revise("h3", text="changed in between")
                memory.remove(["h5", "h70"])

        assert await memory.reembed("documents", progress=meddle) == 78
        for id in ("h3", "h4", "h79"):
            assert np.array_equal(memory.vector(id), (await memory.embedder.embed([memory.get(id).text]))[0])
        assert len(memory.collection("documents").index) == 78

    async def test_select_orders_and_pages(self, open_memory):
        memory = await open_memory()
        for place in range(5):
            memory.clock.now += 1
            memory.put("documents", [Draft(f"t{place}", f"i{place}", {"rank": -place, "even": place % 2 == 0})])
        assert [record.id for record in memory.select("documents", descending=True, limit=2, offset=1)] == ["i3", "i2"]
        assert [record.id for record in memory.select("documents", order="rank")] == ["i4", "i3", "i2", "i1", "i0"]
        assert [record.id for record in memory.select("documents", {"even": True}, order="id")] == ["i0", "i2", "i4"]
        assert memory.count("documents", {"even": False}) == 2
        with pytest.raises(FilterError):
            memory.select("documents", order='rank") --')

    async def test_edges(self, open_memory):
        memory = await open_memory()
        graph = memory.graph
        graph.link("a", "b", "cites", weight=2.0, confidence=0.5)
        graph.link_many([Edge("a", "c", "cites"), Edge("c", "a", "follows", created_at=5)])
        assert graph.neighbours("a") == ["b", "c"] and graph.neighbours("a", "follows", "out") == []
        assert [edge.target for edge in graph.edges("a", direction="out")] == ["b", "c"]
        assert graph.edges("a", direction="in") == [Edge("c", "a", "follows", 1.0, 1.0, 5)]
        assert graph.link("a", "b", "cites", weight=3.0).weight == 3.0 and graph.count("cites") == 2
        assert graph.scale("a", "b", "cites", 1.05).weight == pytest.approx(3.15)
        assert graph.scale("a", "b", "cites", 100).weight == 10.0
        for changes in ({"source": ""}, {"target": ""}, {"relation": ""}, {"weight": -1}, {"weight": np.nan}, {"confidence": 2}):
            bad = replace(Edge("a", "b", "cites"), **changes)
            with pytest.raises(ConfigError):
                graph.link_many([Edge("x", "y", "z"), bad])
        assert graph.neighbours("x") == []
        with pytest.raises(NotFoundError):
            graph.unlink("a", "b", "follows")
        graph.unlink("a", "b", "cites")
        assert graph.detach(["a"]) == 2 and graph.count() == 0

    async def test_stats_count_what_is_there(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        memory.put("notes", [Draft("bare", "bare")])
        memory.graph.link("cat", "dog", "cites")
        stats = memory.stats()
        assert stats["edges"] == 1 and stats["database_bytes"] > 0 and stats["space"] == memory.embedder.space.key
        assert {name: (each["records"], each["vectors"]) for name, each in stats["collections"].items()} == {
            "documents": (4, 4),
            "notes": (1, 0),
        }

    async def test_closing_twice_is_safe(self, open_memory):
        memory = await open_memory()
        await memory.add("documents", animals())
        await memory.close()
        await memory.close()
