"""Indexes on kernels: what every index promises, and that they and those on numpy are one and the same."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnsw_pure import HNSW, BruteForce
from pyruvllm.errors import OperandError
from pyruvllm.kernels import cases
from tests.contracts.accelerated import accelerator, on_kernels
from tests.contracts.index import IndexContract
from tests.generators.clustered import Clustered, nearest, recall

WALKS = [f"{family}_{name}" for family in ("hnsw", "code") for name in ("search", "insert", "unlink")]


class TestHNSW(IndexContract):
    @staticmethod
    def make(dim, metric="cosine"):
        return on_kernels(HNSW)(dim, metric=metric)


class TestNarrowHNSW(IndexContract):
    @staticmethod
    def make(dim, metric="cosine"):
        return on_kernels(HNSW)(dim, M=2, ef_construction=8, metric=metric)


class TestBruteForce(IndexContract):
    make = on_kernels(BruteForce)


def fault(index: HNSW) -> str | None:
    live = np.zeros(len(index._graph.levels), bool)
    live[index._table.live()] = True
    return index._graph.fault(live)


@pytest.fixture(scope="module")
def source():
    clustered = Clustered(96, topics=60)
    return clustered.draw(3000), clustered.draw(300)


def test_both_builds_are_equally_good(source):
    base, queries = source
    truth = nearest(base, queries, 10)
    ours, plain = (HNSW(96, M=16, ef_construction=100, accelerator=given) for given in (accelerator(), None))
    for index in (ours, plain):
        index.add(np.arange(len(base)), base)
    plain = HNSW.from_segments(plain.segments(), accelerator=accelerator())
    for ef in (16, 32, 64):
        found, expected = (recall(index.search(queries, 10, ef=ef).ids, truth) for index in (ours, plain))
        assert found >= expected - 0.005


@settings(max_examples=15)
@given(seed=st.integers(0, 999), m=st.integers(2, 5), kind=st.sampled_from(("spread", "equal", "line")), batch=st.integers(1, 90))
def test_every_node_is_reached_whatever_comes_and_goes(seed, m, kind, batch):
    """Built by kernels and by numpy in turn; what each touched is saved, so the saved index is the index."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((180, 3))
    if kind == "equal":
        vectors = np.sign(vectors)
    elif kind == "line":
        vectors = np.linspace(1, 180, 180)[:, None] * np.ones(3)
    index = HNSW(3, M=m, ef_construction=m + 3, metric="l2", accelerator=accelerator())
    store: dict[str, bytes] = {}
    for turn, some in enumerate(np.array_split(random.permutation(180), -(-180 // batch))):
        index.add(some, vectors[some])
        index.delete(random.permutation(index.ids)[: len(some) // 3])
        assert fault(index) is None
        changes = index.changes()
        store = {name: segment for name, segment in store.items() if name not in changes.removed} | changes.written
        index.mark_saved()
        assert store == index.segments()
        assert len(index.search(vectors[0], len(index), ef=len(index)).ids[0]) == len(index)
        index = HNSW.from_segments(store, accelerator=None if turn % 2 else accelerator())


def test_an_index_answers_the_same_whoever_opens_it(source):
    base, queries = source[0][:1500], source[1][:100]
    ours = HNSW(96, M=8, ef_construction=60, accelerator=accelerator())
    ours.add(np.arange(1500), base)
    ours.delete(np.arange(0, 1500, 7))
    plain = HNSW.from_segments(ours.segments())
    assert plain.segments() == ours.segments()
    found, expected = ours.search(queries, 10, ef=200), plain.search(queries, 10, ef=200)
    assert (found.ids == expected.ids).mean() > 0.999
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_one_query_and_many_get_the_same(source):
    """A score depends on nothing but the query and the vector: not on what else is asked or where the vector lies."""
    base, queries = source
    index, exact = (make(96, accelerator=accelerator()) for make in (HNSW, BruteForce))
    for each in (index, exact):
        each.add(np.arange(700), base[:700])
    for each in (index, exact):
        many = each.search(queries, 5, ef=700)
        ones = [each.search(query, 5, ef=700) for query in queries]
        assert (many.ids == np.concatenate([one.ids for one in ones])).all()
        assert (many.scores == np.concatenate([one.scores for one in ones])).all()
    assert (exact.search(queries, 5).scores == many.scores).all() and (index.search(queries, 5, ef=700).scores == many.scores).all()


@pytest.mark.parametrize("operation", WALKS)
@pytest.mark.parametrize("name, value", [("ground", 10**9), ("ground", 2**31 - 1), ("upper", 10**6), ("first", 10**6), ("entry", 10**6)])
def test_a_graph_that_cannot_be_is_refused(library, operation, name, value):
    """Wherever the walk comes by; and what it does not come by does no harm."""
    if operation.endswith("unlink") and name == "entry":
        name = "parent"
    for seed in range(4):
        made = cases.made(cases.of(library.operations[operation]), seed, 1)
        for kernel in library.names(operation)[:-1]:
            values = copy.deepcopy(made)
            if "visits" in values:
                values["visits"] = 2**32 - 1
            if name == "entry":
                values[name] = value
            else:
                held = values[name].reshape(-1)
                held[held >= 0] = value
            with pytest.raises(OperandError):
                library.kernel(operation, kernel)(**values)


@settings(max_examples=40)
@given(operation=st.sampled_from(WALKS), seed=st.integers(0, 10**6), share=st.floats(0, 1), kept=st.booleans())
def test_any_links_end_the_walk(library, operation, seed, share, kept):
    """Garbage for links, levels and parents: an answer or a refusal, never a trap and never without end."""
    random = np.random.default_rng(seed)
    values = cases.of(library.operations[operation])(random, random.integers(2))
    top = values["top"]
    for name in ("ground", "upper", "first", "levels", "parent"):
        if name in values:
            array = values[name]
            low, high = (-1, top) if kept else (-(2**31), 2**31)
            garbage = random.integers(-1, 6, array.shape) if name == "levels" else random.integers(low, high, array.shape)
            array[...] = np.where(random.random(array.shape) < share, garbage, array)
    if "codes" in values and not kept:  # factors too may be anything, such as NaN
        values["codes"][:] = random.integers(0, 256, values["codes"].shape)
    if "slots" in values and not kept:
        values["slots"][:] = random.integers(0, top, len(values["slots"]))
    try:
        library.kernel(operation, library.names(operation)[0])(**values)
    except OperandError:
        pass


def test_a_kernel_failure_is_not_taken_for_a_bad_query():
    index = HNSW(4, accelerator=accelerator())
    index.add(np.arange(50), np.random.default_rng(0).standard_normal((50, 4)))
    index._graph.ground.links[:] = 10**6
    with pytest.raises(OperandError, match="ground"):
        index.search(np.ones(4))
