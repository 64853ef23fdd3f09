"""Maximal marginal relevance against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnsw_pure import DimensionError, ParameterError, diversify


def cosine(x, y):
    return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


def by_definition(vectors, scores, k, balance):
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    taken = []
    while len(taken) < min(k, len(units)):
        left = [place for place in range(len(units)) if place not in taken]
        worth = [balance * scores[i] - (1 - balance) * max((units[i] @ units[j] for j in taken), default=0) for i in left]
        taken.append(left[int(np.argmax(worth))])
    return taken


@given(seed=st.integers(0, 2**32), count=st.integers(1, 12), k=st.integers(1, 15), balance=st.floats(0, 1))
def test_takes_what_the_definition_takes(seed, count, k, balance):
    random = np.random.default_rng(seed)
    vectors, scores = random.standard_normal((count, 5)).astype(np.float32), random.uniform(-1, 1, count).astype(np.float32)
    mine = diversify(vectors, scores, k, balance).tolist()
    assert len(mine) == len(set(mine)) == min(k, count)
    theirs = by_definition(vectors.astype(np.float64), scores.astype(np.float64), k, balance)
    if mine != theirs:  # a tie up to rounding
        turn = next(turn for turn, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1])
        worth = [
            balance * scores[i] - (1 - balance) * max((cosine(vectors[i], vectors[j]) for j in mine[:turn]), default=0)
            for i in (mine[turn], theirs[turn])
        ]
        assert abs(worth[0] - worth[1]) < 1e-5


def test_twins_are_not_both_taken():
    vectors = np.array([[1, 0], [1, 0.001], [0, 1]], np.float32)
    scores = np.array([0.9, 0.89, 0.5], np.float32)
    assert diversify(vectors, scores, 2, 0.5).tolist() == [0, 2]
    assert diversify(vectors, scores, 2, 1.0).tolist() == [0, 1]


def test_what_is_wrong_is_named():
    with pytest.raises(DimensionError, match=r"\(3, 2\) and scores \(2,\)"):
        diversify(np.ones((3, 2)), np.ones(2), 1)
    with pytest.raises(ParameterError, match="balance is 2"):
        diversify(np.ones((3, 2)), np.ones(3), 1, 2)
    with pytest.raises(ParameterError, match="k is 0"):
        diversify(np.ones((3, 2)), np.ones(3), 0)
