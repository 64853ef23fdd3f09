"""The vectors of one collection, ready to be searched: an exact scan while they are few, HNSW above that.

The change to HNSW is made in slices while the scan goes on answering. Only HNSW is saved, as segments without vectors: those are in
the rows, which alone are enough to build it anew.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hnsw_pure import HNSW, BruteForce, CorruptSegmentError
from hnsw_pure.accelerate import Accelerator

from ..config import IndexConfig

SLICE = 16  # vectors linked in one slice of a build: some tens of milliseconds in a browser


class VectorIndex:
    """Numbers of records and their vectors, by cosine. accelerator: compiled code that searches and links them."""

    def __init__(self, dimension: int, config: IndexConfig, accelerator: Accelerator | None = None):
        self.dimension, self.config, self._accelerator = dimension, config, accelerator
        self._current: BruteForce | HNSW = BruteForce(dimension, accelerator=accelerator)
        self._growing: HNSW | None = None  # takes over when it has all that ``_current`` has

    def __len__(self) -> int:
        return len(self._current)

    @property
    def kind(self) -> str:
        """ "exact" or "hnsw"."""
        return "hnsw" if isinstance(self._current, HNSW) else "exact"

    @property
    def outgrown(self) -> bool:
        """Whether a scan is no longer the better way."""
        return self.kind == "exact" and len(self) > self.config.exact_below

    def add(self, numbers: Sequence[int] | np.ndarray, vectors: np.ndarray) -> None:
        """Vectors (n, dimension) of numbers that are not in it."""
        if len(numbers):
            self._current.add(np.asarray(numbers, np.int64), vectors)

    def remove(self, numbers: Sequence[int]) -> None:
        """Numbers that are not in it are passed over."""
        for index in (self._current, self._growing):
            gone = [number for number in numbers if number in index] if index is not None else []
            if index is not None and gone:
                index.delete(np.array(gone, np.int64))

    def search(self, vector: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest whose number is ``allowed``: (numbers (n,) int64, cosines (n,) float32), best first, n <= k."""
        k = min(k, len(self) if allowed is None else len(allowed))
        if k == 0 or not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        where = None if allowed is None else lambda ids: np.isin(ids, allowed)
        found = self._current.search(vector[None], k, max(k, self.config.ef_search), where)
        hits = found.ids[0] >= 0
        if self._accelerator is not None:  # whose scores depend on nothing but the query and the vector
            return found.ids[0][hits], found.scores[0][hits]
        return self._scored(found.ids[0][hits], vector)

    def _scored(self, numbers: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosines to the last bit the same wherever a vector lies, sorted, equal ones by number.

        A product of BLAS is not: the last rows of a block are summed in another order, so a reopened index would answer otherwise.
        """
        rows, unit = self._current.vectors(numbers), vector / np.sqrt(np.einsum("i,i->", vector, vector))
        cosines = np.clip(np.einsum("ij,j->i", rows, unit), -1, 1)
        order = np.lexsort((numbers, -cosines))
        return numbers[order], cosines[order]

    def grow(self) -> int:
        """One slice of the change to HNSW; returns how many vectors it has yet to take in."""
        if self._growing is None:
            self._growing = self._hnsw()
        waiting = np.setdiff1d(self._current.ids, self._growing.ids)
        if len(waiting):
            self._growing.add(waiting[:SLICE], self._current.vectors(waiting[:SLICE]))
        return max(0, len(waiting) - SLICE)

    def take_over(self) -> None:
        """The grown HNSW becomes the index."""
        assert self._growing is not None and len(self._growing) == len(self._current)
        self._current, self._growing = self._growing, None

    def build(self, numbers: np.ndarray, vectors: np.ndarray, progress: Callable[[int, int], object] | None = None) -> None:
        """HNSW over all of these at once, in place of what was there."""
        index = self._hnsw()
        index.add(numbers, vectors, progress=progress)
        self._current, self._growing = index, None

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
