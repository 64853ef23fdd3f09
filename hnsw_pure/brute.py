"""The exact index: every search looks at every vector. The oracle of the tests, and the better index when small."""

import numpy as np

from .accelerate import Accelerator
from .base import VectorIndex
from .rescore import Originals
from .table import VectorTable

_BLOCK = 4_000_000  # closenesses at a time, 16 MB


class BruteForce(VectorIndex):
    """Exact search behind the same interface as `HNSW`.

        index = BruteForce(768)
        index.add([1, 2], vectors)              # (2, 768)
        index.search(queries, k=10).ids         # (q, 10) int64

    dim: numbers a vector; metric: "cosine", "ip" or "l2". `ef` and `budget` of a search are checked and then ignored.
    codec, originals: as of HNSW; seed: of the rotation of codes.
    accelerator: compiled code that scans, see accelerate.py.
    """

    kind = "brute"

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
        super().__init__(dim, metric, codec=codec, seed=seed, originals=originals, accelerator=accelerator)
        if accelerator is not None:
            self._bound = accelerator.bind(self._table, None)

    def _search(self, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, budget: float | None):
        return scan(self._table, queries, k, self._table.live() if allowed is None else np.flatnonzero(allowed))


def scan(table: VectorTable, queries: np.ndarray, k: int, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The exact nearest among slots (n,), ascending, for prepared queries (q, dim).

    Returns slots (q, k) int64, best first, -1 where there are fewer, and scores (q, k) float32, -inf there.
    """
    found = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    count = min(k, len(slots))
    if not count:
        return found, scores
    step = max(1, _BLOCK // len(slots))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        closeness = table.against(table.codec.ask(block), slots)
        best = np.argpartition(closeness, -count, axis=1)[:, -count:] if count < len(slots) else np.tile(np.arange(count), (len(block), 1))
        for i, query in enumerate(block, start):
            found[i, :count], scores[i, :count] = rank(table, slots[best[i - start]], query)
    return found, scores


def rank(table: VectorTable, slots: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slots (n,) sorted by their exact score, best first, equal ones by id; and the scores (n,) float32."""
    scores = table.scores(slots, query)
    order = np.lexsort((table.ids[slots], -scores))
    return slots[order], scores[order]
