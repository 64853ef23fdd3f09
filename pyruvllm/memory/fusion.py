"""How the words a record shares with the query, its nearness in meaning and its neighbours become one score.

Scores are added, not ranks: ranks lose how far the first stands above the second. BM25 is divided by the most it could be for this
query, which, unlike the best that was found, does not make much of a weak match; the cosine is taken as it is. Both then mean the
same in every collection. What stands before and after a passage tells what it is about: each passes a share of its score on.

The two shares were chosen on conversations (tests/bench/locomo.py, recall@10): 73.6 as they are, 64.0 by words alone, 68 with weighted
reciprocal ranks and the same neighbours. They are not delicate: WORDS 0.5 to 0.7 with PASSED_ON 0.1 to 0.3 all gave 71.6 to 74.1.
"""

import numpy as np

WORDS = 0.6  # share of the words in a score; the rest is meaning
PASSED_ON = 0.2  # share of its score that a record passes on to those right before and after it
GIVERS = 40  # records that pass on, the best; twice k when that is more


def fuse(bm25: np.ndarray, ceiling: float, similarity: np.ndarray) -> np.ndarray:
    """Scores (n,) from BM25 (n,), 0 where no word is shared, its ``ceiling``, and cosines (n,), 0 where there is no vector."""
    return WORDS * (bm25 / ceiling if ceiling else bm25) + (1 - WORDS) * similarity
