"""Indexes over codes on kernels: as good as the numbers they are made of, and one and the same with those on numpy."""

import numpy as np
import pytest

from hnsw_pure import HNSW, BruteForce
from hnsw_pure.metric import METRICS
from tests.contracts.accelerated import accelerator
from tests.generators.clustered import Clustered, nearest, recall

CODECS = ("int8", "bit1")


@pytest.fixture(scope="module")
def source():
    clustered = Clustered(160, topics=60)
    return clustered.draw(5000), clustered.draw(200)


def fault(index: HNSW) -> str | None:
    live = np.zeros(len(index._graph.levels), bool)
    live[index._table.live()] = True
    return index._graph.fault(live)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("metric", METRICS)
def test_numpy_answers_the_same_from_the_segments_of_kernels(source, name, metric):
    base, queries = source[0][:1200], source[1][:50]
    ours = HNSW(160, M=8, ef_construction=60, metric=metric, codec=name, accelerator=accelerator())
    ours.add(np.arange(1200), base)
    ours.delete(np.arange(0, 1200, 7))
    assert fault(ours) is None
    plain = HNSW.from_segments(ours.segments())
    assert plain.segments() == ours.segments()
    found, expected = (index.search(queries, 10, ef=1200) for index in (ours, plain))
    scale = np.abs(expected.scores).max()
    np.testing.assert_allclose(found.scores, expected.scores, atol=scale * (0.005 if name == "int8" else 0.1))
    assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
    overlap = np.mean([np.isin(one, other).mean() for one, other in zip(found.ids, expected.ids, strict=True)])
    assert overlap > (0.97 if name == "int8" else 0.85)


@pytest.mark.parametrize("name, alone", [("int8", 0.97), ("bit1", 0.5)])
def test_recall_on_kernels(source, name, alone):
    """By codes alone, and with the last candidates scored from originals; a scan finds what a walk finds."""
    base, queries = source
    truth = nearest(base, queries, 10)
    for originals, least in ((None, alone), (lambda ids: base[ids], 0.985)):
        index, exact = (kind(160, codec=name, originals=originals, accelerator=accelerator()) for kind in (HNSW, BruteForce))
        for each in (index, exact):
            each.add(np.arange(len(base)), base)
        found, scanned = index.search(queries, 10, ef=192), exact.search(queries, 10, ef=192)
        assert recall(found.ids, truth) > least and recall(scanned.ids, truth) > least
        if originals:
            cosines = np.einsum("qd,qkd->qk", queries, base[found.ids]) / np.linalg.norm(queries, axis=1)[:, None]
            np.testing.assert_allclose(found.scores, cosines / np.linalg.norm(base[found.ids], axis=2), atol=1e-5)


@pytest.mark.parametrize("name", CODECS)
def test_a_graph_over_codes_survives_coming_and_going(source, name):
    """After every second vector was replaced, recall is within a point of a fresh build's."""
    base, queries = source[0][:3000], source[1]
    held = np.arange(2000)
    index = HNSW(160, M=16, ef_construction=100, codec=name, originals=lambda ids: base[ids], accelerator=accelerator())
    index.add(held, base[held])
    random = np.random.default_rng(0)
    for start in range(2000, 3000, 250):
        gone = random.choice(held[held < 2000], 250, replace=False)
        index.delete(gone)
        index.add(np.arange(start, start + 250), base[start : start + 250])
        held = np.append(np.setdiff1d(held, gone), np.arange(start, start + 250))
        assert fault(index) is None
    fresh = HNSW(160, M=16, ef_construction=100, codec=name, originals=lambda ids: base[ids], accelerator=accelerator())
    fresh.add(held, base[held])
    truth = held[nearest(base[held], queries, 10)]
    ours, anew = (recall(each.search(queries, 10, ef=64).ids, truth) for each in (index, fresh))
    assert ours > anew - 0.01


@pytest.mark.parametrize("name", CODECS)
def test_filtered_and_limited_searches(source, name):
    base, queries = source[0][:2000], source[1][:40]
    index = HNSW(160, M=8, ef_construction=60, codec=name, originals=lambda ids: base[ids], accelerator=accelerator())
    index.add(np.arange(2000), base)
    for share in (2, 10, 400):
        allowed = np.arange(0, 2000, share)
        found = index.search(queries, 5, ef=200, where=allowed)
        assert (found.ids % share == 0).all()
        assert recall(found.ids, allowed[nearest(base[allowed], queries, 5)]) > 0.9
    few, _ = index._bound.search(queries[:1], 5, 64, None, visits=1)
    hardly = index._bound.met
    index._bound.search(queries[:1], 5, 64, None)
    assert (few >= 0).all() and hardly * 2 < index._bound.met
