"""Vectors that lie like embeddings of text do: topics of unequal size that overlap, each flat in most directions.

A topic is a centre and a basis of a few dozen directions along which its members vary, strongly in the first and ever less. All topics
lean the same way a little, as texts of one language do, and every vector carries some noise in all directions. Uniform random vectors
would be no stand-in: in 768 dimensions all of them are about equally far from each other, and no index finds anything.
"""

import numpy as np

TOPICS = 200
_SPREAD = 160  # directions that topics vary in, together


class Clustered:
    """A mixture of topics in `dim` dimensions; what it draws depends on the seed and the order of the draws."""

    def __init__(self, dim: int = 768, seed: int = 20260118, topics: int = TOPICS) -> None:
        self.dim = dim
        self._random = np.random.default_rng(seed)
        spread = min(_SPREAD, dim)
        span = np.linalg.qr(self._random.standard_normal((dim, spread)))[0]  # (dim, spread)
        self._lean = 0.35 * span[:, 0]
        weights = np.arange(1, topics + 1) ** -0.7
        self._weights = weights / weights.sum()
        centres = (self._random.standard_normal((topics, spread)) / np.sqrt(np.arange(1, spread + 1))) @ span.T
        self._centres = 0.55 * centres / np.linalg.norm(centres, axis=1, keepdims=True)
        self._bases = []
        for _ in range(topics):
            width = min(int(self._random.integers(24, 41)), spread)
            basis = np.linalg.qr(span @ self._random.standard_normal((spread, width)))[0]  # (dim, width)
            strengths = np.arange(1, width + 1) ** -0.3
            radius = self._random.uniform(0.5, 0.8)
            self._bases.append(basis * (radius * strengths / np.linalg.norm(strengths)))

    def draw(self, count: int) -> np.ndarray:
        """(count, dim) float32 of length one."""
        topics = self._random.choice(len(self._weights), size=count, p=self._weights)
        vectors = self._random.standard_normal((count, self.dim)) * (0.15 / np.sqrt(self.dim)) + self._lean + self._centres[topics]
        for topic in np.unique(topics):
            members = np.flatnonzero(topics == topic)
            basis = self._bases[topic]
            vectors[members] += self._random.standard_normal((len(members), basis.shape[1])) @ basis.T
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def nearest(base: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The k of base (n, dim) with the highest cosine to each of queries (q, dim), all of length one: (q, k) int64, in no order."""
    return np.argpartition(queries @ base.T, -k, axis=1)[:, -k:]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Which share of truth (q, k) is in found (q, k)."""
    return float(np.mean([len(np.intersect1d(f, t)) / len(t) for f, t in zip(found, truth, strict=True)]))
