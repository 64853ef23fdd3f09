"""How the words a record shares with the query and its nearness in meaning become one score."""

import numpy as np

TEXT = 0.6  # share of the words in a score; the rest is meaning
PASSED_ON = 0.1  # share of its score that a passage passes on to those right before and after it


def fuse(bm25: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Scores (n,) of candidates from their BM25 (n,), 0 where no word is shared, and their cosine (n,), 0 where there is no vector."""
    top = bm25.max(initial=0.0)
    text = bm25 / top if top > 0 else bm25
    return TEXT * text + (1 - TEXT) * similarity
