"""The face that both indexes share: what goes in is checked whole, then done; what comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from . import segments as seg
from .accelerate import Accelerator, BoundIndex
from .codec import codec as codec_named
from .errors import DimensionError, EfError, ParameterError
from .explain import Explanation, Step
from .metric import Metric
from .rescore import Originals, fetch, rescored
from .saved import SavedIndex
from .statistics import Statistics
from .table import VectorTable, Where, read_distinct_ids, read_ids

Progress = Callable[[int, int], object]
_SLICE = 256  # vectors added between two calls of progress
_SAMPLE = 4096  # vectors that a codec learns from at most
_FIRST = 64  # hits that a search by range begins with


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Hits of q queries, best first. Higher scores are better under every metric.

    ids     (q, k) int64, -1 where there are fewer than k hits
    scores  (q, k) float32: cosine, inner product, or negative squared distance; -inf where there is no hit
    """

    ids: np.ndarray
    scores: np.ndarray


class VectorIndex(SavedIndex):
    """A set of (id, vector) pairs that finds the nearest. Not safe for use by several threads at once."""

    def __init__(
        self,
        dim: int,
        metric: str = "cosine",
        *,
        codec: str = "float32",
        seed: int = 0,
        originals: Originals | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        self._metric = Metric(metric, dim)
        self._ledger = seg.Ledger()
        self._empty = np.empty if accelerator is None else accelerator.empty
        self._codec = codec_named(codec, self._metric, seed, self._empty)
        self._originals = originals
        self.seed = int(seed)
        self._table = VectorTable(self._metric, self._ledger, self._empty, self._codec)
        self._bound: BoundIndex | None = None  # set where there is an accelerator

    @property
    def dim(self) -> int:
        return self._metric.dim

    @property
    def metric(self) -> str:
        return self._metric.name

    @property
    def codec(self) -> str:
        """How vectors are kept: "float32", "int8" or "bit1"."""
        return self._codec.name

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, id) -> bool:
        return id in self._table

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items())
        return f"<{type(self).__name__} of {len(self)} vectors: {settings}>"

    @property
    def ids(self) -> np.ndarray:
        """The ids held, (n,) int64, in no particular order."""
        return self._table.ids[self._table.live()]

    def vectors(self, ids) -> np.ndarray:
        """The vectors of ids (n,), (n, dim) float32; under cosine scaled to length one. Raises UnknownIdError, InvalidIdError.

        Of int8 and bit1 they are the originals where the index has these at hand, else what the codes tell of them.
        """
        ids = read_ids(ids)
        slots = self._table.slots(ids)
        if self._originals is None or not self._codec.last or not len(ids):
            return self._table.decode(slots)
        return fetch(self._metric, self._originals, ids)

    def add(self, ids, vectors, *, progress: Progress | None = None) -> None:
        """Adds vectors (n, dim) under new ids (n,), integers in 0 ... 2**63 - 1: all of them or, on any error, none.

        `progress(done, total)` is called between slices; an exception it raises cancels the whole call and is passed on.
        Raises DimensionError, NonFiniteError, ZeroVectorError, InvalidIdError, DuplicateIdError.
        """
        ids, rows, squares = self._read(ids, vectors)
        self._table.check_new(ids)
        done: list[np.ndarray] = []
        self._table.learn(self._metric.prepare(rows[:_SAMPLE], squares[:_SAMPLE]))
        self._table.reserve(len(ids))
        try:
            for start in range(0, len(ids), _SLICE):
                part = slice(start, start + _SLICE)
                done.append(self._table.put(ids[part], self._metric.prepare(rows[part], squares[part])))
                self._link(done[-1])
                if progress is not None:
                    progress(min(part.stop, len(ids)), len(ids))
        except BaseException:
            for slots in reversed(done):
                self._drop(slots)
            raise

    def expect(self, count: int, sample=None) -> None:
        """Makes room for `count` more vectors, and fits the codec of an index that is empty to a sample (n, dim) of them.

        `add` does both for its own; this is for vectors that will come a few at a time. Raises ParameterError, and what `add` does.
        """
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise ParameterError(f"count is {count!r}; it is an integer of at least 0")
        if sample is not None and len(sample):
            rows, squares = self._metric.read(sample[:_SAMPLE], "the sample")
            self._table.learn(self._metric.prepare(rows, squares))
        self._table.reserve(int(count))

    def update(self, ids, vectors) -> None:
        """Gives ids (n,) that are held other vectors (n, dim): all of them or, on an error, none.

        Raises UnknownIdError, DuplicateIdError, InvalidIdError, DimensionError, NonFiniteError, ZeroVectorError.
        """
        ids, rows, _ = self._read(ids, vectors)
        self.delete(ids)
        self.add(ids, rows)

    def _read(self, ids, vectors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of a caller, checked: ids (n,) int64, vectors (n, dim) float32 and their squared lengths (n,) float64."""
        ids = read_distinct_ids(ids)
        if not len(ids) and not np.size(vectors):
            return ids, np.empty((0, self.dim), np.float32), np.empty(0)
        rows, squares = self._metric.read(vectors, "vectors")
        if len(ids) != len(rows):
            raise DimensionError(f"{len(ids)} ids came with {len(rows)} vectors")
        return ids, rows, squares

    def delete(self, ids) -> None:
        """Removes ids (n,) and their vectors for good: all of them or, on an error, none.

        Raises UnknownIdError, DuplicateIdError, InvalidIdError.
        """
        slots = self._table.slots(read_distinct_ids(ids))
        if len(slots):
            self._drop(slots)

    def compact(self, slots: int | None = None) -> int:
        """Gives the room of deleted vectors back. Results stay the same; every segment that moved counts as changed.

        slots: vectors that this call moves at most, None for all that have to. Between calls the index is whole and may be changed.
        Returns how many have yet to be moved; with the last of them the memory is given back. Raises ParameterError.
        """
        if slots is not None and (isinstance(slots, bool) or not isinstance(slots, int | np.integer) or slots < 1):
            raise ParameterError(f"slots is {slots!r}; it is an integer of at least 1, or None")
        live = self._table.live()
        first = int(np.count_nonzero(live == np.arange(len(live))))  # those are in their places
        moved = live[first:][:slots]
        if len(moved):
            self._move(moved, np.arange(first, first + len(moved)))
        left = len(live) - first - len(moved)
        if not left:
            self._shrink()
        return left

    def search(
        self, queries, k: int = 10, ef: int | None = None, where: Where | None = None, *, budget: float | None = None
    ) -> SearchResult:
        """The k nearest to each of queries (q, dim); a single query (dim,) is one row.

        k: hits wanted, at least 1. Fewer come back only where fewer exist.
        ef: how many near vectors a graph search keeps in sight; more is slower and finds more. At least k.
        where: the allowed ids, or a callable from ids (n,) int64 to (n,) bool that is called once. None allows all.
        budget: seconds for the walks of this call, which end early where this machine's pace so far says that they would take longer;
            k hits come back all the same. Originals are fetched after it.
        Raises DimensionError, NonFiniteError, ZeroVectorError, ParameterError, EfError, InvalidIdError.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ParameterError(f"k is {k!r}; it is an integer of at least 1")
        if ef is not None and (isinstance(ef, bool) or not isinstance(ef, int | np.integer) or ef < k):
            raise EfError(f"ef is {ef!r}; it is an integer of at least k, here {k}")
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int | float | np.number) or not budget > 0):
            raise ParameterError(f"budget is {budget!r}; it is a number of seconds above 0")
        rows = self._metric.rows(queries, "queries")
        ef = max(ef or self._ef(), k)
        allowed = None if where is None else self._table.allowed(where)
        if self._originals is None or not self._codec.last:
            return SearchResult(*self._found(rows, int(k), int(ef), allowed, budget))
        found, _ = self._found(rows, max(k, min(int(ef), self._codec.last * int(k))), int(ef), allowed, budget)
        prepared = self._metric.prepare(rows, self._metric.squares(rows, "queries"))
        return SearchResult(*rescored(self._metric, self._originals, prepared, found, int(k)))

    def _found(
        self, rows: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, budget: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids (q, k) int64 and scores (q, k) float32 for queries (q, dim) as they were given, as far as codes tell."""
        if self._bound is not None and len(rows) and len(self._table):
            return self._accelerated(self._bound, rows, k, ef, allowed, budget)
        slots, scores = self._search(self._metric.prepare(rows, self._metric.squares(rows, "queries")), k, ef, allowed, budget)
        ids = np.full(slots.shape, -1, np.int64)
        hits = slots >= 0
        ids[hits] = self._table.ids[slots[hits]]
        return ids, scores

    def search_ids(
        self, ids, k: int = 10, ef: int | None = None, where: Where | None = None, *, budget: float | None = None
    ) -> SearchResult:
        """The k nearest to the vector of each of ids (n,), which is not among its own hits; else as `search`. Raises UnknownIdError too."""
        ids = read_ids(ids)
        if isinstance(k, int | np.integer) and ef is not None and ef == k:
            ef += 1  # one of those kept in sight is the vector itself
        found = self.search(self.vectors(ids), k + 1, ef, where, budget=budget)
        others = found.ids != ids[:, None]
        others[others.all(axis=1), -1] = False
        return SearchResult(*(part[others].reshape(len(ids), k) for part in (found.ids, found.scores)))

    def search_range(
        self, query, score: float, ef: int | None = None, where: Where | None = None, *, budget: float | None = None
    ) -> SearchResult:
        """All whose score for one query (dim,) is at least `score`: ids and scores (1, n), best first.

        It asks for more until the last hit is below the bound, so it misses what a `search` for as many would miss: of an exact index
        nothing. When `budget` seconds are over, it does not ask again. Raises ParameterError where `score` is not a number, else as
        `search`.
        """
        if isinstance(score, bool) or not isinstance(score, int | float | np.number) or np.isnan(score):
            raise ParameterError(f"score is {score!r}; it is a number")
        if np.ndim(query) != 1:
            raise DimensionError(f"a range is searched for one query of shape ({self.dim},), not {np.shape(query)}")
        k, left, begun = _FIRST, budget, perf_counter()
        while True:
            found = self.search(query, k, None if ef is None else max(ef, k), where, budget=left)
            left = None if budget is None else begun + budget - perf_counter()
            if k >= len(self) or not found.scores[0, -1] >= score or (left is not None and left <= 0):
                within = (found.scores >= score) & (found.ids >= 0)
                return SearchResult(found.ids[within][None], found.scores[within][None])
            k = min(4 * k, len(self))

    def explain(self, query, k: int = 10, ef: int | None = None, where: Where | None = None) -> Explanation:
        """How a search for one query (dim,) goes; as `search`. The walk it tells of is the one in numpy."""
        found = self.search(query, k, ef, where)
        if len(found.ids) != 1:
            raise DimensionError(f"one query is explained at a time, not {len(found.ids)}")
        hits = found.ids[0] >= 0
        rows = self._metric.rows(query, "queries")
        prepared = self._metric.prepare(rows, self._metric.squares(rows, "queries"))[0]
        told = self._explain(prepared, max(ef or self._ef(), k), None if where is None else self._table.allowed(where))
        return Explanation(*told, found.ids[0][hits], found.scores[0][hits])

    def statistics(self) -> Statistics:
        """What it is made of, counted."""
        return Statistics(len(self), self._table.top - len(self), self._bytes())

    # What an index with a graph does besides

    def _search(
        self, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, budget: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Slots (q, k) int64 and scores (q, k) float32 for prepared queries; `allowed` is a mask over slots (top,) bool."""
        raise NotImplementedError

    def _accelerated(self, bound: BoundIndex, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, budget: float | None):
        """The same through an accelerator: queries as they were given; ids (q, k) int64 and scores (q, k) float32."""
        return bound.scan(queries, k, allowed)

    def _ef(self) -> int:
        return 0

    def _link(self, slots: np.ndarray) -> None:
        """Takes new slots into the graph."""

    def _drop(self, slots: np.ndarray) -> None:
        self._table.wipe(slots)

    def _explain(self, query: np.ndarray, ef: int, allowed: np.ndarray | None) -> tuple[str, tuple[Step, ...], int, int]:
        """For a prepared query (dim,): why it goes as it does, steps of a descent, turns and vectors looked at on the ground."""
        among = len(self) if allowed is None else int(np.count_nonzero(allowed))
        return f"An exact scan: of {len(self)} vectors {among} are allowed.", (), 0, among

    @property
    def nbytes(self) -> int:
        """Of all its arrays."""
        return sum(self._bytes().values())

    def _bytes(self) -> dict[str, int]:
        """Bytes of each array, by name."""
        return self._table.bytes

    def _move(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """What is in slots (n,), ascending, goes to `targets` (n,), ascending, which are free or among them."""
        self._table.move(sources, targets)

    def _shrink(self) -> None:
        """Gives back the memory behind the last slot in use."""
        self._table.shrink()

    def _settings(self) -> dict:
        return {"dim": self.dim, "metric": self.metric, "codec": self.codec, "seed": self.seed}
