"""What can be asked of a memory: what is about this, what is like that, and everything that is near enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hnsw_pure import Explanation

from ..errors import ConfigError, NotFoundError, SpaceError
from ..types import Hit
from .collection import Collection, check_space, check_vector
from .crossing import SAMPLES
from .filters import compile_filter
from .recall import Question, recall, within

if TYPE_CHECKING:
    from ..embed.embedder import Embedder
    from .graph import Graph
    from .records import Records

Mode = Literal["hybrid", "vector", "text"]
Where = Mapping[str, Any]
Names = Sequence[str] | str | None  # of collections; None: all there are


class Searchable:
    """The searches of a memory. Several collections are searched as if they were one: their hits are merged by score.

    Common to all of them:
    where        a filter on columns and metadata, see ``filters``
    collections  the name of one, names of many, or None for all
    diversity    0: the best hits; up to 1: hits that are unlike each other, at the cost of their scores (maximal marginal relevance,
                 Carbonell and Goldstein 1998: each is chosen for (1 - diversity) x its score - diversity x its greatest similarity to
                 those before it). The hits keep their scores and are in the order in which they were chosen.
    Raises ConfigError, FilterError, and SpaceError for vectors of another space than a collection's.
    """

    embedder: Embedder
    records: Records
    graph: Graph
    _collections: dict[str, Collection]
    _searches = 0

    async def search(
        self,
        query: str | np.ndarray,
        k: int = 10,
        *,
        where: Where | None = None,
        collections: Names = ("documents",),
        mode: Mode = "hybrid",
        diversity: float = 0.0,
    ) -> list[Hit]:
        """The k best, by words and meaning. A vector (768,) as the query is looked up by meaning alone. EmbeddingError too."""
        options = {"where": where, "collections": collections, "diversity": diversity}
        if not isinstance(query, str):
            return self.search_with(None, query, k, mode="vector", **options)  # type: ignore[arg-type]
        by_meaning = mode != "text" and query.strip() != ""
        vector = (await self.embedder.embed([query]))[0] if by_meaning else None
        return self.search_with(query, vector, k, mode=mode, **options)  # type: ignore[arg-type]

    def search_with(
        self,
        text: str | None,
        vector: np.ndarray | None,
        k: int = 10,
        *,
        where: Where | None = None,
        collections: Names = ("documents",),
        mode: Mode = "hybrid",
        diversity: float = 0.0,
    ) -> list[Hit]:
        """The same for a query that is embedded already. ``hybrid`` does without the side that is not given."""
        k = _checked(k, diversity)
        if mode not in ("hybrid", "vector", "text"):
            raise ConfigError(f"mode is {mode!r}; hybrid, vector and text are right")
        chosen = self._chosen(collections)
        text = None if mode == "vector" or not (text and text.strip()) else text
        if vector is not None and mode != "text":
            vector = self._query(vector, chosen)
        else:
            vector = None
        allowed = self._allowed(chosen, where)
        if not chosen or (text is None and vector is None):
            return []
        return self._recalled(chosen, Question(text, vector, k, allowed, self.unindexed(), diversity))

    def nearest(self, collection: str, vector: np.ndarray, k: int, numbers: np.ndarray | None = None) -> list[tuple[int, float]]:
        """Numbers of the records nearest in meaning and their cosines, best first; ``numbers``: (n,) int64 ascending, of those allowed.

        What a typed store asks that knows its rows by other columns than a filter has.
        """
        chosen = self._chosen(collection)
        if not chosen:
            return []
        found, cosines = chosen[0].index.search(self._query(vector, chosen), _checked(k, 0), numbers)
        gone = self.unindexed()
        return [pair for pair in zip(found.tolist(), cosines.tolist(), strict=True) if pair[0] not in gone]

    def more_like(
        self,
        ids: str | Sequence[str],
        k: int = 10,
        *,
        where: Where | None = None,
        collections: Names = (),
        diversity: float = 0.0,
    ) -> list[Hit]:
        """The k records nearest in meaning to a record, or to the mean of several, which are not among the hits.

        They are looked for in the collections of the given records unless ``collections`` says where. NotFoundError: no such record,
        or none of them has a vector.
        """
        k = _checked(k, diversity)
        given = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        places = self.records.places(given)
        homes = [self._collections[name] for name in dict.fromkeys(name for _, name in places)]
        numbers = [number for number, _ in places]
        if not homes:
            raise ConfigError("more_like() takes the id of a record, or several; none was given")
        chosen = homes if collections is not None and not len(collections) else self._chosen(collections)
        for collection in (*homes, *chosen):
            if collection.space != homes[0].space:
                raise SpaceError(f"{given[0]!r} is in {homes[0].space}, collection {collection.name!r} in {collection.space}")
        found, vectors = self.records.vectors_of(numbers, homes[0].dimension)
        if not len(found):
            raise NotFoundError(f"the record {given[0]!r} has no vector" if len(given) == 1 else f"none of {given} has a vector")
        vector = check_vector(vectors.mean(axis=0), homes[0].dimension, "the mean of the records")
        allowed = self._allowed(chosen, where)
        return self._recalled(chosen, Question(None, vector, k, allowed, self.unindexed() | frozenset(numbers), diversity))

    async def within(
        self, query: str | np.ndarray, similarity: float, *, where: Where | None = None, collections: Names = ("documents",)
    ) -> list[Hit]:
        """Every record whose cosine with the query is at least ``similarity`` (-1 ... 1), best first. EmbeddingError too.

        Of a collection that is searched through a graph it may miss some, as every search does.
        """
        if isinstance(similarity, bool) or not isinstance(similarity, (int, float, np.floating)) or not -1 <= similarity <= 1:
            raise ConfigError(f"similarity is {similarity!r}; a cosine, between -1 and 1, would be right")
        chosen = self._chosen(collections)
        given = (await self.embedder.embed([query]))[0] if isinstance(query, str) else query
        vector, allowed = self._query(given, chosen), self._allowed(chosen, where)
        return within(self.records, chosen, vector, float(similarity), allowed, self.unindexed()) if chosen else []

    def explain(self, vector: np.ndarray, k: int = 10, *, collection: str = "documents") -> Explanation:
        """How the index of a collection comes to its answer: what it descends through and looks at, and why it walks or scans."""
        k = _checked(k, 0)
        chosen = self._chosen(collection)
        if not chosen:
            raise NotFoundError(f"no collection {collection!r}")
        return chosen[0].index.explain(self._query(vector, chosen), k)

    def unindexed(self) -> frozenset[int]:
        raise NotImplementedError

    def start_upkeep(self) -> None:
        raise NotImplementedError

    def _recalled(self, chosen: list[Collection], question: Question) -> list[Hit]:
        self._searches += 1
        if self._searches % SAMPLES == 0:  # by then something new is known about what searches cost
            self.start_upkeep()
        return recall(self.records, self.graph, chosen, question)

    def _chosen(self, names: Names) -> list[Collection]:
        """Those of the named collections that are there."""
        if names is None:
            return [self._collections[name] for name in sorted(self._collections)]
        wanted = [names] if isinstance(names, str) else dict.fromkeys(names)
        return [self._collections[name] for name in wanted if name in self._collections]

    def _query(self, vector: np.ndarray, chosen: list[Collection]) -> np.ndarray:
        vector = check_vector(vector, self.embedder.space.dimension, "the query's vector")
        for collection in chosen:
            check_space(collection.name, collection.space, self.embedder.space)
        return vector

    def _allowed(self, chosen: list[Collection], where: Where | None) -> np.ndarray | None:
        """Numbers that pass the filter, (n,) int64; None: all do."""
        condition = compile_filter(where)
        if condition[0] == "1":
            return None
        return np.concatenate([np.empty(0, np.int64), *(self.records.matching(collection.name, condition) for collection in chosen)])


def _checked(k: int, diversity: float) -> int:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ConfigError(f"k is {k!r}; an integer of at least 1 would be right")
    if isinstance(diversity, bool) or not isinstance(diversity, (int, float, np.floating)) or not 0 <= diversity <= 1:
        raise ConfigError(f"diversity is {diversity!r}; a number between 0 and 1 would be right")
    return int(k)
