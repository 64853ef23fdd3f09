"""Files of others. `hnswlib-0.8.bin` was saved by hnswlib 0.8.0 itself:

index = hnswlib.Index(space="cosine", dim=4)
index.init_index(20, ef_construction=20, M=4, random_seed=1)
index.add_items(numpy.random.default_rng(0).standard_normal((12, 4)).astype("f4"), numpy.arange(12) * 3 + 1)
index.mark_deleted(4)
index.save_index("hnswlib-0.8.bin")
"""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnsw_pure import HNSW, BruteForce, HNSWError, ParameterError
from hnsw_pure.interchange import add_npy, from_hnswlib, to_hnswlib, to_npy
from tests.generators.clustered import Clustered, nearest, recall

SAVED = Path(__file__).with_name("hnswlib-0.8.bin").read_bytes()


def written(index) -> bytes:
    file = io.BytesIO()
    to_hnswlib(index, file)
    return file.getvalue()


def test_what_hnswlib_saved_is_read():
    vectors = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    index = from_hnswlib(io.BytesIO(SAVED), "cosine")
    assert (index.M, index.ef_construction, index.dim) == (4, 20, 4)
    kept = np.delete(np.arange(12), 1)  # label 4 was marked as deleted
    assert sorted(index.ids.tolist()) == (kept * 3 + 1).tolist()
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(index.vectors(kept * 3 + 1), units[kept], rtol=1e-5)
    found = index.search(vectors, 11, ef=11).ids
    best = np.argsort(-(units @ units[kept].T), axis=1)
    assert (found == kept[best] * 3 + 1).all()
    assert index.statistics().layers[3].nodes == 1  # the header's highest layer


def test_what_is_written_comes_back():
    source = Clustered(24, seed=3, topics=9)
    base, queries = source.draw(700), source.draw(50)
    index = HNSW(24, 8, 64)
    index.add(np.arange(700) * 5, base)
    index.delete(np.arange(0, 700, 10) * 5)
    again = from_hnswlib(io.BytesIO(written(index)), "cosine", seed=9)
    mine, theirs = index.search(queries, 10, ef=32), again.search(queries, 10, ef=32)
    assert (mine.ids == theirs.ids).all()
    np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-6)
    assert written(from_hnswlib(io.BytesIO(written(again)), "cosine")) == written(again)
    again.delete(again.ids[:300])  # its tree holds
    assert again.statistics().reachable == 1
    again.add([1], base[:1])
    assert again.search(base[0], 1).ids.tolist() == [[1]]


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_other_metrics_come_back(metric, tmp_path):
    source = Clustered(16, seed=3, topics=9)
    base, queries = source.draw(300) * 3, source.draw(20)
    index = HNSW(16, 8, 64, metric)
    index.add(np.arange(300), base)
    to_hnswlib(index, tmp_path / "index.bin")
    again = from_hnswlib(tmp_path / "index.bin", metric)
    assert (again.vectors(np.arange(300)) == base.astype(np.float32)).all()
    assert (again.search(queries, 5).ids == index.search(queries, 5).ids).all()


def test_links_without_a_tree_are_as_good():
    """hnswlib's links are one-way; the tree that is laid over them costs no recall."""
    source = Clustered(32, seed=3)
    base, queries = source.draw(2000), source.draw(100)
    index = HNSW(32, 8, 64)
    index.add(np.arange(2000), base)
    truth = nearest(base, queries, 10)
    before = recall(index.search(queries, 10, ef=48).ids, truth)
    index._graph.grow_tree()
    assert index._graph.fault(np.arange(len(index._graph.levels)) < 2000) is None
    assert recall(index.search(queries, 10, ef=48).ids, truth) >= before - 0.01


def test_an_empty_one_has_no_file():
    with pytest.raises(ParameterError, match="no entry point"):
        to_hnswlib(HNSW(4), io.BytesIO())


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_harmless(data):
    damaged = bytearray(SAVED)
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(SAVED) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(SAVED) - 1))] = data.draw(st.integers(0, 255))
    try:
        index = from_hnswlib(io.BytesIO(bytes(damaged)), "cosine")
    except HNSWError:
        return
    assert index.dim == 4
    assert (index.search(np.ones(4), 3).ids >= 0).sum() == min(3, len(index))


@pytest.mark.parametrize("kind", [HNSW, BruteForce])
def test_npy(kind, tmp_path):
    vectors = Clustered(8).draw(5000)
    index = BruteForce(8, "ip")
    index.add(np.arange(5000) * 2, vectors)
    to_npy(index, tmp_path / "there")
    assert (np.load(tmp_path / "there" / "vectors.npy") == vectors).all()
    again, told = kind(8, metric="ip"), []
    add_npy(again, tmp_path / "there", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (5000, 5000)
    assert (again.vectors(np.arange(5000) * 2) == vectors).all()
