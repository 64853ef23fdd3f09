"""Hits that are not all alike: maximal marginal relevance.

J. Carbonell and J. Goldstein, The use of MMR, diversity-based reranking for reordering documents and producing summaries, SIGIR 1998.
"""

import numpy as np

from .errors import DimensionError, ParameterError


def diversify(vectors: np.ndarray, scores: np.ndarray, k: int, balance: float = 0.5) -> np.ndarray:
    """Which k of n candidates to take, in which order: positions (min(k, n),) int64.

    One after another that candidate is taken for which `balance` x score - (1 - balance) x (the greatest cosine to one taken before) is
    greatest; of equal ones the first.

    vectors: (n, dim), none of them zero, such as `index.vectors(found.ids[0])`; scores: (n,), best on the scale of a cosine.
    balance: 1 gives the order of the scores, 0 looks at differences alone.
    Raises DimensionError, ParameterError.
    """
    vectors, scores = np.asarray(vectors, np.float32), np.asarray(scores, np.float32)
    if vectors.ndim != 2 or scores.shape != vectors.shape[:1]:
        raise DimensionError(f"vectors have shape {vectors.shape} and scores {scores.shape}; expected (n, dim) and (n,)")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ParameterError(f"k is {k!r}; it is an integer of at least 1")
    if not 0 <= balance <= 1:
        raise ParameterError(f"balance is {balance!r}; it is a number in 0 ... 1")
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.zeros(len(units), np.float32)  # greatest cosine to one taken
    open_ = np.ones(len(units), bool)
    taken = np.empty(min(k, len(units)), np.int64)
    for turn in range(len(taken)):
        worth = np.where(open_, balance * scores - (1 - balance) * nearest, -np.inf)
        taken[turn] = chosen = int(worth.argmax())
        open_[chosen] = False
        cosines = units @ units[chosen]
        nearest = cosines if turn == 0 else np.maximum(nearest, cosines)
    return taken
