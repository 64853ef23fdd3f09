"""The last candidates of a search over codes, scored exactly from the vectors as they were given."""

from collections.abc import Callable

import numpy as np

from .errors import DimensionError
from .metric import Metric

Originals = Callable[[np.ndarray], np.ndarray]  # ids (n,) int64 to their vectors (n, dim) as they were given


def fetch(metric: Metric, originals: Originals, ids: np.ndarray) -> np.ndarray:
    """Prepared vectors of ids (n,), (n, dim) float32. Raises DimensionError where another number of them comes."""
    rows, squares = metric.read(originals(ids), "originals")
    if len(rows) != len(ids):
        raise DimensionError(f"originals() gave {len(rows)} vectors for {len(ids)} ids")
    return metric.prepare(rows, squares)


def rescored(metric: Metric, originals: Originals, queries: np.ndarray, found: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of found ids (q, n), -1 where there are fewer, for prepared queries (q, dim): all of them fetched in one batch.

    Returns ids (q, k) int64, best first, equal scores by id, and exact scores (q, k) float32; -1 and -inf where there are fewer.
    """
    ids, scores = np.full((len(found), k), -1, np.int64), np.full((len(found), k), -np.inf, np.float32)
    asked = np.unique(found[found >= 0])
    if not len(asked):
        return ids, scores
    rows = fetch(metric, originals, asked)
    for i, query in enumerate(queries):
        mine = found[i][found[i] >= 0]
        exact = metric.scores(rows[np.searchsorted(asked, mine)], query)
        order = np.lexsort((mine, -exact))[:k]
        ids[i, : len(order)], scores[i, : len(order)] = mine[order], exact[order]
    return ids, scores
