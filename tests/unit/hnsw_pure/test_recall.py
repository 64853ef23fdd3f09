"""How much of what is near HNSW finds, on vectors that lie like embeddings of text."""

import copy

import numpy as np
import pytest

from hnsw_pure import HNSW, insert
from tests.generators.clustered import Clustered, nearest, recall


@pytest.fixture(scope="module")
def source():
    clustered = Clustered(768)
    return clustered.draw(8000), clustered.draw(300)


@pytest.fixture(scope="module")
def plain(source):
    """An index of the first 2000, not to be changed."""
    index = HNSW(768)
    index.add(np.arange(2000), source[0][:2000])
    return index


def test_eight_thousand_vectors(source):
    base, queries = source
    index = HNSW(768, M=32, ef_construction=200)
    index.add(np.arange(len(base)), base)
    assert recall(index.search(queries, 10, ef=64).ids, nearest(base, queries, 10)) >= 0.98
    assert recall(index.search(queries, 10, ef=16).ids, nearest(base, queries, 10)) >= 0.97

    allowed = np.arange(1, len(base), 3)  # more than a scan is meant for, so this walks
    found = index.search(queries, 10, ef=64, where=allowed).ids
    assert np.isin(found, allowed).all()
    assert recall(found, allowed[nearest(base[allowed], queries, 10)]) >= 0.98


def test_candidates_found_by_walking(source, monkeypatch):
    """Past a size new nodes find their neighbours through the graph: here from the first one on."""
    base, queries = source[0][:1500], source[1]
    monkeypatch.setattr(insert, "SCAN_BELOW", 0)
    index = HNSW(768)
    index.add(np.arange(len(base)), base)
    assert recall(index.search(queries, 10, ef=64).ids, nearest(base, queries, 10)) >= 0.98


def test_one_at_a_time_is_as_good_as_all_at_once(source):
    base, queries = source[0][:1000], source[1]
    index = HNSW(768)
    for id, vector in enumerate(base):
        index.add([id], vector)
    assert recall(index.search(queries, 10, ef=64).ids, nearest(base, queries, 10)) >= 0.98


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_other_metrics(source, metric):
    random = np.random.default_rng(3)
    base = source[0][:2000] * random.uniform(0.8, 1.25, (2000, 1)).astype(np.float32)
    queries = source[1]
    index = HNSW(768, metric=metric)
    index.add(np.arange(len(base)), base)
    products = queries @ base.T
    scores = products if metric == "ip" else products - (base**2).sum(axis=1) / 2
    truth = np.argpartition(-scores, 10, axis=1)[:, :10]
    assert recall(index.search(queries, 10, ef=64).ids, truth) >= 0.98


def test_half_deleted_and_put_back(source, plain):
    """A few at a time, so that links are repaired again and again; then against an index that never lost anything."""
    base, queries = source[0][:2000], source[1]
    index, fresh = copy.deepcopy(plain), plain
    order = np.random.default_rng(5).permutation(len(base))
    gone, kept = order[:1000], np.sort(order[1000:])
    for some in np.array_split(gone, 15):
        index.delete(some)
    half = recall(index.search(queries, 10, ef=32).ids, kept[nearest(base[kept], queries, 10)])
    assert half >= 0.95
    for some in np.array_split(gone, 15):
        index.add(some, base[some])
    truth = nearest(base, queries, 10)
    assert recall(index.search(queries, 10, ef=32).ids, truth) >= recall(fresh.search(queries, 10, ef=32).ids, truth) - 0.02
