"""What an index on kernels still finds after much came and went, among few that are allowed, and in whatever order vectors came."""

import numpy as np
import pytest

from hnsw_pure import HNSW
from tests.contracts.accelerated import accelerator
from tests.generators.clustered import Clustered, nearest, recall

SIZE = 8000


@pytest.fixture(scope="module")
def source():
    clustered = Clustered(96, topics=80)
    return clustered.draw(2 * SIZE), clustered.draw(300)


def made(seed: int = 1) -> HNSW:
    return HNSW(96, M=16, ef_construction=100, seed=seed, accelerator=accelerator())


def filled(ids: np.ndarray, base: np.ndarray, seed: int = 1) -> HNSW:
    index = made(seed)
    index.add(ids, base[ids])
    return index


def recall_among(index: HNSW, base: np.ndarray, queries: np.ndarray, kept: np.ndarray, ef: int, where=None) -> float:
    """recall@10 against the exact nearest of base[kept]."""
    return recall(index.search(queries, 10, ef=ef, where=where).ids, kept[nearest(base[kept], queries, 10)])


@pytest.fixture(scope="module")
def index(source):
    return filled(np.arange(SIZE), source[0])


def test_half_replaced_in_any_order_is_as_good_as_new(source, index):
    """Half of the vectors go and as many others come, in turns of one to a hundred: less than a point is lost at ef 64."""
    base, queries = source
    random = np.random.default_rng(4)
    churned = HNSW.from_segments(index.segments(), accelerator=accelerator())
    going, coming = random.permutation(SIZE)[: SIZE // 2], SIZE + random.permutation(SIZE)[: SIZE // 2]
    while len(going) or len(coming):
        some = int(random.integers(1, 100))
        if len(going) and (not len(coming) or random.random() < 0.5):
            churned.delete(going[:some])
            going = going[some:]
        else:
            churned.add(coming[:some], base[coming[:some]])
            coming = coming[some:]
    kept = np.sort(churned.ids)
    assert len(kept) == SIZE and churned.statistics().reachable == 1
    for ef in (32, 64):
        assert recall_among(churned, base, queries, kept, ef) > recall_among(filled(kept, base), base, queries, kept, ef) - 0.01
    churned.compact()
    assert churned.statistics().free == 0


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("kind", ["any", "near each other"])
def test_filters_of_every_share_find_the_nearest(source, index, share, kind):
    base, queries = source
    count = int(share * SIZE)
    if kind == "any":
        allowed = np.random.default_rng(5).permutation(SIZE)[:count]
    else:  # far from most queries: a walk meets few of them on its way
        allowed = np.argsort(-(base[:SIZE] @ base[0]))[:count]
    allowed = np.sort(allowed)
    found = index.search(queries, 10, ef=64, where=allowed)
    want = min(10, count)
    assert ((found.ids >= 0).sum(axis=1) == want).all()
    assert np.isin(found.ids[:, :want], allowed).all()
    truth = allowed[nearest(base[allowed], queries, want)]
    assert recall(found.ids[:, :want], truth) >= 0.95


def test_the_order_in_which_vectors_come_hardly_matters(source, index):
    base, queries = source
    shuffled = filled(np.random.default_rng(6).permutation(SIZE), base)
    every = np.arange(SIZE)
    for ef in (32, 64):
        recalls = [recall_among(each, base, queries, every, ef) for each in (index, shuffled)]
        assert abs(recalls[0] - recalls[1]) < 0.01


def test_the_same_seed_makes_the_same_index(source, index):
    again, other = (filled(np.arange(SIZE), source[0], seed) for seed in (1, 2))
    assert again.segments() == index.segments()
    assert other.segments() != index.segments()
