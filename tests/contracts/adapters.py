"""What the adapters promise wherever they run, with or without the packages whose interfaces they have."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from pyruvllm.adapters.langchain import LangChainEmbedder, RuvVectorStore
from pyruvllm.adapters.langgraph import RuvStore
from pyruvllm.errors import ConfigError, DuplicateError, EmbeddingError, FilterError, HostError
from pyruvllm.types import Draft
from tests.contracts.stores import tables

TEXTS = ["boats leave the harbour", "bread needs a starter", "boats and bread", "the cat sleeps"]
NOTES = ("notes", "marta")


class Letters:
    """LangChain's ``Embeddings``: how often each letter occurs, and questions in capitals."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.aembed_documents([text.removeprefix("? ")]))[0]


class Put(NamedTuple):
    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any] | None
    index: Any = None
    ttl: float | None = None


class Get(NamedTuple):
    namespace: tuple[str, ...]
    key: str
    refresh_ttl: bool = True


class VectorStoreContract:
    async def test_texts_are_added_found_and_fetched(self, open_memory):
        store = RuvVectorStore(await open_memory())
        ids = await store.aadd_texts(TEXTS, [{"n": place} for place in range(4)])
        found = await store.asimilarity_search_with_score("boats leave the harbour", 2)
        assert [document.page_content for document, _ in found][0] == TEXTS[0] and found[0][1] == pytest.approx(1, abs=1e-3)
        assert found[0][0].metadata == {"n": 0} and found[0][0].id == ids[0]
        assert [document.page_content for document in await store.aget_by_ids([ids[2], "nobody", ids[0]])] == [TEXTS[2], TEXTS[0]]
        assert [document.id for document in await store.asimilarity_search("boats", 4, filter={"n": {"$gte": 2}})] == [ids[2], ids[3]]
        vector = store.memory.vector(ids[3])
        assert [document.id for document in await store.asimilarity_search_by_vector(vector, 1)] == [ids[3]]
        with pytest.raises(FilterError):
            await store.asimilarity_search("boats", filter={"n": {"$near": 1}})

    async def test_an_id_that_is_there_is_replaced_and_one_of_another_collection_refused(self, open_memory):
        memory = await open_memory()
        store = RuvVectorStore(memory)
        await store.aadd_texts(TEXTS[:2], ids=["a", "b"])
        assert await store.aadd_texts([TEXTS[3], TEXTS[2], "the last word"], ids=["a", "c", "c"]) == ["a", "c", "c"]
        assert [document.page_content for document in await store.aget_by_ids(["a", "b", "c"])] == [TEXTS[3], TEXTS[1], "the last word"]
        assert (await store.asimilarity_search("the cat sleeps", 1))[0].id == "a"
        memory.put("documents", [Draft("a passage", "p")])
        before = tables(memory)
        with pytest.raises(DuplicateError, match="'documents'"):
            await store.aadd_texts(["new", "x"], ids=["n", "p"])
        assert tables(memory) == before and await store.aget_by_ids(["p"]) == []
        with pytest.raises(ConfigError, match="2 texts have as many ids, not 1"):
            await store.aadd_texts(["x", "y"], ids=["z"])

    async def test_delete_some_or_all(self, open_memory):
        memory = await open_memory()
        memory.put("documents", [Draft("a passage", "p")])
        store = RuvVectorStore(memory)
        await store.aadd_texts(TEXTS, ids=list("abcd"))
        assert await store.adelete(["a", "nobody", "p"])
        assert {document.id for document in await store.asimilarity_search("boats", 9)} == {"b", "c", "d"}
        await store.adelete()
        assert await store.asimilarity_search("boats", 9) == [] and memory.get("p").text == "a passage"

    async def test_mmr_relevance_and_the_ways_to_search(self, open_memory):
        store = RuvVectorStore(await open_memory())
        await store.aadd_texts(["boats boats sail", "boats boats sails", "boats cat", "unlike"], ids=list("abcd"))
        near = [document.id for document in await store.asimilarity_search("boats boats", 2)]
        diverse = [document.id for document in await store.amax_marginal_relevance_search("boats boats", 2, lambda_mult=0.3)]
        assert set(near) == {"a", "b"} and diverse[0] == near[0] and diverse[1] not in near
        assert [document.id for document in await store.asearch("boats boats", "mmr", k=2, fetch_k=2)] == near
        scored = await store.asimilarity_search_with_relevance_scores("boats boats", 4)
        assert all(0 <= score <= 1 for _, score in scored)
        kept = await store.asearch("boats boats", "similarity_score_threshold", score_threshold=0.5)
        assert len(kept) == sum(score >= 0.5 for _, score in scored) < 4
        with pytest.raises(ConfigError, match="search_type is 'best'"):
            await store.asearch("x", "best")

    async def test_by_words_where_asked(self, open_memory):
        memory = await open_memory()
        await RuvVectorStore(memory).aadd_texts(TEXTS)
        words = RuvVectorStore(memory, mode="text")
        assert {document.page_content for document in await words.asimilarity_search("starter", 9)} == {TEXTS[1]}
        assert len(await RuvVectorStore(memory, mode="hybrid").asimilarity_search("starter", 9)) == 4
        with pytest.raises(ConfigError, match="mode is 'magic'"):
            RuvVectorStore(memory, mode="magic")

    async def test_where_the_loop_runs_it_cannot_be_waited_for(self, open_memory, no_waiting):
        store = RuvVectorStore(await open_memory())
        with pytest.raises(HostError, match="asynchronous twin"):
            store.add_texts(["x"])
        assert await store.asimilarity_search("x") == []

    async def test_langchains_embeddings_embed_for_the_memory(self, open_memory):
        embedder = LangChainEmbedder(Letters(), "letters")
        store = RuvVectorStore(await open_memory(embedder=embedder))
        assert store.embeddings is embedder.embeddings
        await store.aadd_texts(TEXTS, ids=list("abcd"))
        assert [document.id for document in await store.asimilarity_search("? bread needs a starter", 1)] == ["b"]
        [(document, score)] = await store.asimilarity_search_with_score("boats", 1, filter={"id": "a"})
        one, other = np.array(await Letters().aembed_documents(["boats", TEXTS[0]]))
        assert score == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=2e-3)
        vector = (await Letters().aembed_documents([TEXTS[3]]))[0]
        assert [document.id for document in await store.asimilarity_search_by_vector(vector, 1)] == ["d"]
        assert await store.amax_marginal_relevance_search_by_vector(vector, 1) == await store.aget_by_ids(["d"])

    @pytest.mark.parametrize("vectors", [[[0.0] * 26], [[1.0] * 769], [[float("nan")] * 4], []])
    async def test_embeddings_that_cannot_be_are_refused(self, open_memory, vectors):
        class Broken(Letters):
            async def aembed_documents(self, texts):
                return vectors

        store = RuvVectorStore(await open_memory(embedder=LangChainEmbedder(Broken())))
        with pytest.raises(EmbeddingError):
            await store.aadd_texts(["x"])
        assert tables(store.memory)["records"] == 0


class StoreContract:
    async def test_a_value_comes_back_and_goes(self, open_memory):
        memory = await open_memory()
        store = RuvStore(memory)
        value = {"text": "likes tea", "n": 1, "tags": ["a", None], "deep": {"x": 1.5}}
        await store.aput(NOTES, "k", value)
        item = await store.aget(NOTES, "k")
        assert (item.namespace, item.key, item.value) == (NOTES, "k", value)
        created = item.created_at
        memory.clock.now += 5000
        await store.aput(NOTES, "k", {"text": "likes coffee"})
        item = await store.aget(NOTES, "k")
        assert item.value == {"text": "likes coffee"} and item.created_at == created
        assert (item.updated_at - created).total_seconds() == 5
        assert await store.aget(("notes",), "k") is None and await store.aget(NOTES, "other") is None
        await memory.close()
        store = RuvStore(await open_memory())
        assert (await store.aget(NOTES, "k")).value == {"text": "likes coffee"}
        await store.adelete(NOTES, "k")
        await store.adelete(NOTES, "k")
        assert await store.aget(NOTES, "k") is None and tables(store.memory)["records"] == 0

    async def test_search_is_by_prefix_meaning_and_filter(self, open_memory):
        memory = await open_memory()
        store = RuvStore(memory, fields=["text"])
        for place, text in enumerate(TEXTS):
            memory.clock.now += 1000
            await store.aput(("notes", ("marta", "jonas")[place % 2]), f"k{place}", {"text": text, "n": place, "in": {"a": [place]}})
        await store.aput(("notes", "marta"), "unindexed", {"text": "boats boats boats", "n": 9}, index=False)
        await store.aput(("other",), "k", {"text": "boats"})
        found = await store.asearch(("notes",), query="boats leave the harbour")
        assert [item.key for item in found][0] == "k0" and len(found) == 5
        assert found[0].score == pytest.approx(1, abs=1e-3) and (found[-1].key, found[-1].score) == ("unindexed", None)
        assert [item.key for item in await store.asearch(("notes",), query="boats leave the harbour", limit=1, offset=1)] == [found[1].key]
        assert {item.key for item in await store.asearch(("notes", "marta"))} == {"k0", "k2", "unindexed"}
        assert [item.key for item in await store.asearch(("notes", "jonas"))] == ["k3", "k1"]  # the latest first
        for filter, keys in (
            ({"n": 2}, {"k2"}),
            ({"n": {"$gt": 1}}, {"k2", "k3", "unindexed"}),
            ({"n": {"$gte": 1, "$lt": 3}}, {"k1", "k2"}),
            ({"n": {"$ne": 0}, "text": TEXTS[1]}, {"k1"}),
            ({"in": {"a": [3]}}, {"k3"}),
            ({"in": {"a": [{"$lte": 1}]}}, {"k0", "k1"}),
            ({"nothing": None}, {"k0", "k1", "k2", "k3", "unindexed"}),
            ({"text": {"$gt": 1}}, set()),
        ):
            assert {item.key for item in await store.asearch(("notes",), filter=filter)} == keys
        assert [item.key for item in await store.asearch(("notes",), query="bread", filter={"n": {"$lt": 2}})] == ["k1", "k0"]
        assert await store.asearch(("notes",), limit=0) == [] == await store.asearch(("nowhere",), query="boats")
        with pytest.raises(FilterError, match=r"'\$near' is no operator"):
            await store.asearch(("notes",), filter={"n": {"$near": 1}})

    async def test_what_is_indexed_is_what_the_fields_name(self, open_memory):
        memory = await open_memory()
        store = RuvStore(memory)
        value = {"title": "Tea", "parts": [{"text": "first"}, {"text": "last"}], "n": 3}
        for index, text in (
            (None, '{"title": "Tea", "parts": [{"text": "first"}, {"text": "last"}], "n": 3}'),
            (["title", "parts[*].text"], "Tea\nfirst\nlast"),
            (["parts[-1].text", "n", "nothing", "parts[7].text"], "last\n3"),
            (False, ""),
        ):
            await store.aput(NOTES, "k", value, index=index)
            [record] = memory.select("langgraph")
            assert record.text == text
            assert tables(memory)["vectors"] == (index is not False)

    async def test_namespaces_are_listed_by_their_ends_and_depth(self, open_memory):
        store = RuvStore(await open_memory())
        for namespace in (("a", "b", "c"), ("a", "b", "d"), ("a", "x", "c"), ("z",)):
            await store.aput(namespace, "k", {"v": 1})
        assert await store.alist_namespaces() == [("a", "b", "c"), ("a", "b", "d"), ("a", "x", "c"), ("z",)]
        assert await store.alist_namespaces(prefix=("a", "*"), suffix=("c",)) == [("a", "b", "c"), ("a", "x", "c")]
        assert await store.alist_namespaces(max_depth=2) == [("a", "b"), ("a", "x"), ("z",)]
        assert await store.alist_namespaces(max_depth=2, limit=1, offset=1) == [("a", "x")]
        assert await store.alist_namespaces(suffix=("a", "b", "c", "d")) == []

    async def test_what_has_a_time_to_live_is_over_then(self, open_memory):
        memory = await open_memory()
        store = RuvStore(memory, ttl=10)
        await store.aput(NOTES, "short", {"v": 1}, ttl=1)
        await store.aput(NOTES, "default", {"v": 2})
        await store.aput(NOTES, "ever", {"v": 3}, ttl=None)
        memory.clock.now += 59_000
        assert (await store.aget(NOTES, "short", refresh_ttl=False)).value == {"v": 1}
        assert (await store.aget(NOTES, "short")).value == {"v": 1}  # and lives for another minute
        memory.clock.now += 59_000
        assert len(await store.asearch(NOTES, refresh_ttl=False)) == 3 and await store.asweep_ttl() == 0
        memory.clock.now += 1_000
        assert {item.key for item in await store.asearch(NOTES, refresh_ttl=False)} == {"default", "ever"}
        assert await store.aget(NOTES, "short") is None and await store.asweep_ttl() == 1
        memory.clock.now += 600_000
        assert {item.key for item in await store.asearch(NOTES)} == {"ever"} and await store.alist_namespaces() == [NOTES]

    async def test_a_batch_reads_before_it_writes(self, open_memory):
        store = RuvStore(await open_memory())
        await store.aput(NOTES, "k", {"v": 1})
        puts = [Put(NOTES, "k", {"v": 2}), Put(NOTES, "gone", {"v": 3}), Put(NOTES, "gone", None), Put(NOTES, "new", {"v": 4})]
        results = await store.abatch([puts[0], Get(NOTES, "k"), *puts[1:], Get(NOTES, "new")])
        assert results[1].value == {"v": 1} and [result for place, result in enumerate(results) if place != 1] == [None] * 5
        assert {item.key: item.value["v"] for item in await store.asearch(NOTES)} == {"k": 2, "new": 4}
        with pytest.raises(ConfigError, match="no operation"):
            await store.abatch([object()])

    @pytest.mark.parametrize("namespace", [(), ("",), ("a.b",), ("langgraph", "x"), (1,), "ab.c"])
    async def test_namespaces_that_cannot_be_are_refused(self, open_memory, namespace):
        store = RuvStore(await open_memory())
        with pytest.raises(ConfigError, match="a namespace is"):
            await store.aput(namespace, "k", {"v": 1})
        with pytest.raises(ConfigError):
            await store.aput(NOTES, 5, {"v": 1})
        assert tables(store.memory)["records"] == 0

    async def test_no_two_places_are_the_same_record(self, open_memory):
        store = RuvStore(await open_memory())
        places = [(("a", "b"), "c"), (("a",), "b"), (("a", 'b", "c'), "d"), (("a", "b", "c"), "d"), (("a",), 'b", "c')]
        for number, (namespace, key) in enumerate(places):
            await store.aput(namespace, key, {"n": number})
        assert [(await store.aget(*place)).value["n"] for place in places] == list(range(5))
        other = RuvStore(store.memory, "elsewhere")
        assert await other.aget(*places[0]) is None
        item = await store.aget(*places[0])
        assert item == item and item.dict()["key"] == "c"
