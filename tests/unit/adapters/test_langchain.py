"""The adapter inside LangChain itself: its own suite for vector stores, its retriever, and calls from wherever it likes."""

import asyncio
import threading

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from pyruvllm.adapters.langchain import RuvVectorStore
from pyruvllm.errors import HostError

WORDS = ["apple", "boat", "cloud", "door"]


class TestStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        with RuvVectorStore.open(embedding=self.get_embeddings()) as store:
            yield store


@pytest.fixture
def store():
    with RuvVectorStore.from_texts(WORDS, DeterministicFakeEmbedding(size=100), [{"n": place} for place in range(4)]) as store:
        yield store


def test_it_is_one_of_langchains(store):
    assert isinstance(store, VectorStore)
    found = store.similarity_search_with_score("boat", 4)
    assert found[0] == (Document(page_content="boat", metadata={"n": 1}, id=found[0][0].id), pytest.approx(1, abs=1e-3))
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    missing = {name for name in dir(VectorStore) if not name.startswith("_")} - set(dir(store))
    assert missing == set()


async def test_a_retriever_over_it(store):
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"n": {"$lt": 3}}})
    assert [document.page_content for document in retriever.invoke("cloud")] == ["cloud"]
    assert [document.page_content for document in await retriever.ainvoke("boat")] == ["boat"]
    assert len(store.as_retriever(search_type="mmr", search_kwargs={"k": 2}).invoke("door")) == 2
    above = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9})
    assert [document.page_content for document in above.invoke("door")] == ["door"]
    chain = retriever | (lambda documents: [document.page_content for document in documents])
    assert await asyncio.to_thread(chain.invoke, "apple") == ["apple"]


def test_from_any_thread_at_once(store):
    found = {}

    def ask(word):
        store.add_texts([f"{word} again"], ids=[word])
        found[word] = store.similarity_search(word, 1)[0].page_content

    threads = [threading.Thread(target=ask, args=(word,)) for word in WORDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {word: word for word in WORDS} and len(store.get_by_ids(WORDS)) == 4


async def test_from_documents_in_a_file_that_stays(tmp_path):
    name, embedding = str(tmp_path / "memory.db"), DeterministicFakeEmbedding(size=768)
    documents = [Document(page_content=word, metadata={"word": word}, id=f"id-{word}") for word in WORDS]
    with await RuvVectorStore.afrom_documents(documents, embedding, name=name) as store:
        assert [document.id for document in await store.asimilarity_search("cloud", 1)] == ["id-cloud"]
    with RuvVectorStore.open(name, embedding) as store:
        assert store.get_by_ids(["id-door"]) == [documents[3]]
        assert [document.id for document in store.max_marginal_relevance_search("boat", 1)] == ["id-boat"]


def test_after_its_end_it_says_so():
    store = RuvVectorStore.open(embedding=DeterministicFakeEmbedding(size=8))
    store.close()
    store.close()
    with pytest.raises(HostError, match="does not run any more"):
        store.add_texts(["x"])
