"""The vectors of one collection, ready to be searched: an exact scan while they are few, HNSW above that.

The change to HNSW is made in slices while the scan goes on answering. Only HNSW is saved, as segments without vectors: those are in
the rows, which alone are enough to build it anew.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hnsw_pure import HNSW, BruteForce, CorruptSegmentError
from hnsw_pure.accelerate import Accelerator

from ..config import Clock, IndexConfig
from .crossing import Crossing, Pace


class VectorIndex:
    """Numbers of records and their vectors, by cosine.

    crossing: what searches cost here, and so how many vectors a scan is good for; accelerator: compiled code that searches and links.
    """

    def __init__(
        self, dimension: int, config: IndexConfig, clock: Clock, crossing: Crossing | None = None, accelerator: Accelerator | None = None
    ):
        self.dimension, self.config, self._clock, self._accelerator = dimension, config, clock, accelerator
        self.crossing = crossing or Crossing(config)
        self._current: BruteForce | HNSW = BruteForce(dimension, accelerator=accelerator)
        self._growing: HNSW | None = None  # takes over when it has all that ``_current`` has
        self._waiting: dict[int, None] = {}  # what it has yet to take in, the next one last
        self._pace = Pace(clock)

    def __len__(self) -> int:
        return len(self._current)

    @property
    def kind(self) -> str:
        """ "exact" or "hnsw"."""
        return "hnsw" if isinstance(self._current, HNSW) else "exact"

    @property
    def outgrown(self) -> bool:
        """Whether a scan is no longer the better way."""
        return self.kind == "exact" and self.crossing.outgrown(len(self), begun=self._growing is not None)

    @property
    def shrunk(self) -> bool:
        """Whether the graph is no longer worth its upkeep."""
        return self.kind == "hnsw" and self.crossing.shrunk(len(self))

    @property
    def growth(self) -> tuple[int, int] | None:
        """(vectors linked, vectors in all) of a graph that is being built."""
        return None if self._growing is None else (len(self._growing), len(self))

    def add(self, numbers: Sequence[int] | np.ndarray, vectors: np.ndarray) -> None:
        """Vectors (n, dimension) of numbers that are not in it."""
        if not len(numbers):
            return
        self._current.add(np.asarray(numbers, np.int64), vectors)
        if self._growing is not None:
            self._waiting.update(dict.fromkeys(int(number) for number in numbers))

    def remove(self, numbers: Sequence[int]) -> None:
        """Numbers that are not in it are passed over."""
        for index in (self._current, self._growing):
            gone = [number for number in numbers if number in index] if index is not None else []
            if index is not None and gone:
                index.delete(np.array(gone, np.int64))
        for number in numbers:
            self._waiting.pop(int(number), None)

    def search(self, vector: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest whose number is ``allowed``: (numbers (n,) int64, cosines (n,) float32), best first, n <= k."""
        k = min(k, len(self) if allowed is None else len(allowed))
        if k == 0 or not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        kept, start = max(k, self.config.ef_search), self._clock.elapsed_ms()
        found = self._current.search(vector[None], k, kept, allowed)
        if allowed is None:
            self._note(self._clock.elapsed_ms() - start, kept)
        hits = found.ids[0] >= 0
        if self._accelerator is not None:  # whose scores depend on nothing but the query and the vector
            return found.ids[0][hits], found.scores[0][hits]
        numbers, cosines = found.ids[0][hits], self._cosines(found.ids[0][hits], vector)
        order = np.lexsort((numbers, -cosines))
        return numbers[order], cosines[order]

    def _note(self, ms: float, kept: int) -> None:
        self.crossing.kept = kept
        if self.kind == "hnsw":
            self.crossing.walk.note(ms)
        else:
            self.crossing.scan.note(ms, len(self))

    def cosines(self, vector: np.ndarray, numbers: Sequence[int]) -> dict[int, float]:
        """The cosine of ``vector`` and each of the numbers that are in it."""
        held = [number for number in numbers if number in self._current]
        if not held:
            return {}
        return dict(zip(held, self._cosines(np.array(held, np.int64), vector).tolist(), strict=True))

    def _cosines(self, numbers: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """To the last bit the same wherever a vector lies.

        A product of BLAS is not: the last rows of a block are summed in another order, so a reopened index would answer otherwise.
        """
        rows, unit = self._current.vectors(numbers), vector / np.sqrt(np.einsum("i,i->", vector, vector))
        return np.clip(np.einsum("ij,j->i", rows, unit), -1, 1)

    def grow(self) -> int:
        """One slice of the change to HNSW; returns how many vectors it has yet to take in."""
        if self._growing is None:
            self._growing, self._waiting = self._hnsw(), dict.fromkeys(self._current.ids[::-1].tolist())
        with self._pace as steps:
            numbers = [self._waiting.popitem()[0] for _ in range(min(steps, len(self._waiting)))]
            if numbers:
                self._growing.add(np.array(numbers, np.int64), self._current.vectors(np.array(numbers, np.int64)))
        if numbers:
            self._probe(self._current.vectors(np.array(numbers[-1:], np.int64)))
        return len(self._waiting)

    def _probe(self, query: np.ndarray) -> None:
        """Searches what was built so far as the latest search would: what that costs decides whether it is worth going on."""
        assert self._growing is not None
        kept, start = self.crossing.kept, self._clock.elapsed_ms()
        self._growing.search(query, min(kept, len(self._growing)), kept)
        self.crossing.walk.note(self._clock.elapsed_ms() - start)

    def take_over(self) -> None:
        """The grown HNSW becomes the index."""
        assert self._growing is not None and len(self._growing) == len(self._current)
        self._current, self._growing = self._growing, None

    def give_up(self) -> None:
        """Forgets a graph that is being built."""
        self._growing, self._waiting = None, {}

    def retreat(self) -> None:
        """The graph becomes a scan again."""
        numbers, index = self._current.ids, BruteForce(self.dimension, accelerator=self._accelerator)
        index.add(numbers, self._current.vectors(numbers))
        self._current = index

    def _hnsw(self) -> HNSW:
        c = self.config
        settings = {"M": c.m, "ef_construction": c.ef_construction, "ef_search": c.ef_search, "seed": c.seed}
        return HNSW(self.dimension, **settings, accelerator=self._accelerator)

    def unsaved(self) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """(segments to write, names of segments to remove) since ``mark_saved``; of an exact index there are none."""
        if not isinstance(self._current, HNSW):
            return {}, ()
        changes = self._current.changes(vectors=False)
        return changes.written, changes.removed

    def mark_saved(self) -> None:
        if isinstance(self._current, HNSW):
            self._current.mark_saved()

    def restore(self, segments: Mapping[str, bytes], vectors: Callable[[np.ndarray], np.ndarray]) -> None:
        """The saved HNSW; ``vectors`` gives the (n, dimension) of numbers (n,). Raises hnsw_pure's SegmentError."""
        index = HNSW.from_segments(segments, vectors=vectors, accelerator=self._accelerator)
        if index.dim != self.dimension:
            raise CorruptSegmentError(f"the saved index has {index.dim} dimensions, the collection {self.dimension}")
        index.ef_search = self.config.ef_search
        self._current, self._growing = index, None
