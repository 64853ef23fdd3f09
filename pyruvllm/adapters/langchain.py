"""A collection of the memory as LangChain's ``VectorStore`` (langchain-core 1.x), and LangChain's ``Embeddings`` as an embedder.

    store = RuvVectorStore(llm.memory)                       # where the memory was opened; await its asynchronous methods
    with RuvVectorStore.open("notes.db") as store: ...       # natively, with a memory of its own: every method, from any thread

Scores are cosines, higher is better. ``filter`` is the memory's filter language (``memory.filters``). ``mode`` says how it searches:
"vector", as LangChain's own stores do, "hybrid" by words as well, or "text".
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hnsw_pure import diversify

from ..config import DIMENSION
from ..errors import ConfigError, HostError
from ..memory.search import Mode
from ..memory.unified import UnifiedMemory
from ..types import Draft, Hit, Record
from .embedder import LangChainEmbedder, mapped, question
from .home import Home
from .lodger import Lodger

__all__ = ["LangChainEmbedder", "PlainDocument", "RuvVectorStore"]

Filter = Mapping[str, Any] | None
SEARCHES = ("similarity", "similarity_score_threshold", "mmr")


@dataclass
class PlainDocument:
    """Stands in for LangChain's ``Document`` where langchain-core is not installed."""

    page_content: str
    metadata: dict[str, Any] = field(default_factory=dict)
    id: str | None = None


class RuvVectorStore(Lodger):
    """What ``langchain_core.vectorstores.VectorStore`` promises, over a collection. Each method has an asynchronous twin."""

    def __init__(self, memory: UnifiedMemory, collection: str = "langchain", *, mode: Mode = "vector", home: Home | None = None):
        """Where the memory was opened: in that event loop. HostError elsewhere, unless ``home`` says where that is."""
        if mode not in ("vector", "hybrid", "text"):
            raise ConfigError(f"mode is {mode!r}; vector, hybrid and text are right")
        self.memory, self.collection, self.mode, self.home = memory, collection, mode, home or Home()
        _known_to_langchain(type(self))

    @property
    def embeddings(self) -> Any:
        """LangChain's embeddings, where the memory has such."""
        return getattr(self.memory.embedder, "embeddings", None)

    # Writing

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **_: Any,
    ) -> list[str]:
        """Embeds and writes texts; one whose id is there takes its place. Durable on return.

        ConfigError, EmbeddingError, and DuplicateError for an id of another collection.
        """
        return await self.home.reach(self._add(list(texts), metadatas, ids))

    def add_texts(self, texts: Iterable[str], metadatas: Any = None, *, ids: Any = None, **_: Any) -> list[str]:
        return self.home.wait(self._add(list(texts), metadatas, ids))

    async def _add(self, texts: list[str], metadatas: Sequence[Mapping[str, Any]] | None, ids: Sequence[str | None] | None) -> list[str]:
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise ConfigError(f"{len(texts)} texts have as many {name}, not {len(given)}")
        names = [id or self.memory.clock.new_id() for id in (ids or [None] * len(texts))]
        vectors = await self.memory.embedder.embed(texts)
        drafts: dict[str, Draft] = {}  # of an id that is given twice the last counts
        for place, (id, text) in enumerate(zip(names, texts, strict=True)):
            drafts[id] = Draft(text, id, dict(metadatas[place] or {}) if metadatas else {}, vectors[place])
        await self.memory.writes.replace(self.collection, list(drafts.values()))
        return names

    async def aadd_documents(self, documents: Sequence[Any], *, ids: Sequence[str | None] | None = None, **_: Any) -> list[str]:
        """The same for documents: with their ids, where they have some."""
        return await self.home.reach(self._add_documents(documents, ids))

    def add_documents(self, documents: Sequence[Any], *, ids: Any = None, **_: Any) -> list[str]:
        return self.home.wait(self._add_documents(documents, ids))

    async def _add_documents(self, documents: Sequence[Any], ids: Sequence[str | None] | None) -> list[str]:
        given = ids if ids is not None else [getattr(document, "id", None) for document in documents]
        return await self._add([document.page_content for document in documents], [document.metadata for document in documents], given)

    async def adelete(self, ids: Sequence[str] | None = None, **_: Any) -> bool:
        """Removes these, passing over those that are not there; without ids all of the collection. Durable on return."""
        return await self.home.reach(self._delete(ids))

    def delete(self, ids: Sequence[str] | None = None, **_: Any) -> bool:
        return self.home.wait(self._delete(ids))

    async def _delete(self, ids: Sequence[str] | None) -> bool:
        known = [record.id for record in self._records(ids)] if ids is not None else None
        if known:
            await self.memory.delete(known)
        elif known is None:
            await self.memory.delete(collection=self.collection)
        return True

    # Reading

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Any]:
        """Documents, in the order of their ids; those that are not there are left out."""
        return await self.home.reach(self._get(ids))

    def get_by_ids(self, ids: Sequence[str], /) -> list[Any]:
        return self.home.wait(self._get(ids))

    async def _get(self, ids: Sequence[str]) -> list[Any]:
        return [_document(record.text, record.metadata, record.id) for record in self._records(ids)]

    def _records(self, ids: Sequence[str]) -> list[Record]:
        there = self.memory.records.taken(ids)
        found = [self.memory.get(id) for id in dict.fromkeys(ids) if id in set(there)]
        return [record for record in found if record.collection == self.collection]

    async def asimilarity_search_with_score(self, query: str, k: int = 4, filter: Filter = None, **_: Any) -> list[tuple[Any, float]]:
        """(document, score), best first. FilterError, EmbeddingError."""
        return await self.home.reach(self._search(query, k, filter))

    def similarity_search_with_score(self, query: str, k: int = 4, filter: Filter = None, **_: Any) -> list[tuple[Any, float]]:
        return self.home.wait(self._search(query, k, filter))

    async def asimilarity_search(self, query: str, k: int = 4, filter: Filter = None, **_: Any) -> list[Any]:
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, filter)]

    def similarity_search(self, query: str, k: int = 4, filter: Filter = None, **_: Any) -> list[Any]:
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    async def asimilarity_search_by_vector(self, embedding: Sequence[float], k: int = 4, filter: Filter = None, **_: Any) -> list[Any]:
        found = await self.home.reach(self._search(embedding, k, filter))
        return [document for document, _ in found]

    def similarity_search_by_vector(self, embedding: Sequence[float], k: int = 4, filter: Filter = None, **_: Any) -> list[Any]:
        return [document for document, _ in self.home.wait(self._search(embedding, k, filter))]

    async def asimilarity_search_with_relevance_scores(self, query: str, k: int = 4, **options: Any) -> list[tuple[Any, float]]:
        """Scores between 0 and 1: cosines, without those that say the opposite. ``score_threshold``: from which on."""
        least = options.pop("score_threshold", None)
        return _relevant(await self.asimilarity_search_with_score(query, k, **options), least)

    def similarity_search_with_relevance_scores(self, query: str, k: int = 4, **options: Any) -> list[tuple[Any, float]]:
        least = options.pop("score_threshold", None)
        return _relevant(self.similarity_search_with_score(query, k, **options), least)

    async def _search(self, query: str | Sequence[float], k: int, filter: Filter) -> list[tuple[Any, float]]:
        hits = await self._hits(query, k, filter)
        return [(_document(hit.text, hit.metadata, hit.id), hit.score) for hit in hits]

    async def _hits(self, query: str | Sequence[float], k: int, filter: Filter, mode: Mode | None = None) -> list[Hit]:
        mode = mode or (self.mode if isinstance(query, str) else "vector")
        text = query if isinstance(query, str) else None
        vector = None if mode == "text" else await self._vector(query)
        return self.memory.search_with(text, vector, k, where=filter, collections=self.collection, mode=mode)

    async def _vector(self, query: str | Sequence[float]) -> np.ndarray:
        """(768,) of a question, or of a vector as the embeddings made it."""
        if not isinstance(query, str):
            return mapped([query])[0] if len(query) != DIMENSION or self.embeddings is not None else np.asarray(query, np.float32)
        return await question(self.memory.embedder, query)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Filter = None, **_: Any
    ) -> list[Any]:
        """k of the ``fetch_k`` nearest, that are unlike each other: ``lambda_mult`` 1 for the nearest, 0 for the most unlike."""
        return await self.home.reach(self._diverse(query, k, fetch_k, lambda_mult, filter))

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Filter = None, **_: Any
    ) -> list[Any]:
        return self.home.wait(self._diverse(query, k, fetch_k, lambda_mult, filter))

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Filter = None, **_: Any
    ) -> list[Any]:
        return await self.home.reach(self._diverse(embedding, k, fetch_k, lambda_mult, filter))

    def max_marginal_relevance_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Filter = None, **_: Any
    ) -> list[Any]:
        return self.home.wait(self._diverse(embedding, k, fetch_k, lambda_mult, filter))

    async def _diverse(self, query: str | Sequence[float], k: int, fetch_k: int, lambda_mult: float, filter: Filter) -> list[Any]:
        hits = await self._hits(query, max(k, fetch_k), filter, "vector")
        if not hits:
            return []
        vectors = np.stack([self.memory.vector(hit.id) for hit in hits])
        taken = diversify(vectors, np.array([hit.score for hit in hits]), k, lambda_mult)
        return [_document(hits[place].text, hits[place].metadata, hits[place].id) for place in taken.tolist()]

    def search(self, query: str, search_type: str = "similarity", **options: Any) -> list[Any]:
        """By "similarity", "similarity_score_threshold" or "mmr"."""
        if search_type == "similarity_score_threshold":
            return [document for document, _ in self.similarity_search_with_relevance_scores(query, **options)]
        method = {"similarity": self.similarity_search, "mmr": self.max_marginal_relevance_search}.get(search_type)
        if method is None:
            raise ConfigError(f"search_type is {search_type!r}; one of {', '.join(SEARCHES)} would be right")
        return method(query, **options)

    async def asearch(self, query: str, search_type: str = "similarity", **options: Any) -> list[Any]:
        if search_type == "similarity_score_threshold":
            return [document for document, _ in await self.asimilarity_search_with_relevance_scores(query, **options)]
        method = {"similarity": self.asimilarity_search, "mmr": self.amax_marginal_relevance_search}.get(search_type)
        if method is None:
            raise ConfigError(f"search_type is {search_type!r}; one of {', '.join(SEARCHES)} would be right")
        return await method(query, **options)

    def as_retriever(self, **options: Any) -> Any:
        """LangChain's ``VectorStoreRetriever`` over this store. HostError without langchain-core."""
        try:
            from langchain_core.vectorstores import VectorStoreRetriever
        except ImportError:
            raise HostError("a retriever is LangChain's: pip install langchain-core") from None
        _known_to_langchain(type(self))
        return VectorStoreRetriever(vectorstore=self, **options)  # type: ignore[arg-type]

    # Making one

    @classmethod
    def from_texts(
        cls, texts: Sequence[str], embedding: Any = None, metadatas: Any = None, *, ids: Any = None, **options: Any
    ) -> RuvVectorStore:
        """A store with these texts; ``options`` as in ``open``: without a name it lasts as long as it is open."""
        store = cls.open(options.pop("name", ":memory:"), embedding, **options)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def from_documents(cls, documents: Sequence[Any], embedding: Any = None, **options: Any) -> RuvVectorStore:
        ids = options.pop("ids", None) or [getattr(document, "id", None) for document in documents]
        texts, metadatas = [document.page_content for document in documents], [document.metadata for document in documents]
        return cls.from_texts(texts, embedding, metadatas, ids=ids, **options)

    @classmethod
    async def afrom_texts(cls, texts: Sequence[str], embedding: Any = None, metadatas: Any = None, **options: Any) -> RuvVectorStore:
        return await asyncio.to_thread(cls.from_texts, texts, embedding, metadatas, **options)

    @classmethod
    async def afrom_documents(cls, documents: Sequence[Any], embedding: Any = None, **options: Any) -> RuvVectorStore:
        return await asyncio.to_thread(cls.from_documents, documents, embedding, **options)


def _relevant(found: list[tuple[Any, float]], least: float | None) -> list[tuple[Any, float]]:
    scored = [(document, min(1.0, max(0.0, score))) for document, score in found]
    return [pair for pair in scored if least is None or pair[1] >= least]


def _document(text: str, metadata: dict[str, Any], id: str) -> Any:
    try:
        from langchain_core.documents import Document
    except ImportError:
        return PlainDocument(text, metadata, id)
    return Document(page_content=text, metadata=metadata, id=id)


def _known_to_langchain(kind: type) -> None:
    """Makes ``isinstance(store, VectorStore)`` true where that class is loaded: LangChain asks so."""
    loaded = sys.modules.get("langchain_core.vectorstores")
    if loaded is not None:
        loaded.VectorStore.register(kind)
