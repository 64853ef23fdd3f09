"""Searches within a budget of time: pace, fewer vectors met, and k hits all the same."""

import numpy as np
import pytest

from hnsw_pure import HNSW, ParameterError
from hnsw_pure.pace import Pace
from tests.contracts.accelerated import accelerator
from tests.generators.clustered import Clustered, nearest, recall


def test_pace_follows_what_is_measured():
    pace = Pace()
    pace.note(1000, 0.001)
    assert pace.visits(0.002, 1) == 2000 and pace.visits(0.002, 4) == 500
    for _ in range(60):
        pace.note(1000, 0.01)
    assert 99_000 < pace.rate < 101_000
    pace.note(0, 1.0)
    pace.note(5, 0.0)
    assert 99_000 < pace.rate < 101_000 and pace.visits(1e-12, 1) == 1 and pace.visits(1e9, 1) == 2**32 - 1


@pytest.mark.parametrize("given", [None, accelerator], ids=["numpy", "kernels"])
def test_a_small_budget_gives_all_hits_and_a_large_one_the_right_ones(given):
    clustered = Clustered(48, topics=30)
    base, queries = clustered.draw(2500), clustered.draw(30)
    index = HNSW(48, M=8, ef_construction=40, accelerator=given and given())
    index.add(np.arange(2500), base)
    truth = nearest(base, queries, 10)
    hurried = np.concatenate([index.search(query, 10, ef=200, budget=1e-9).ids for query in queries])
    patient = np.concatenate([index.search(query, 10, ef=200, budget=60.0).ids for query in queries])
    assert (hurried >= 0).all() and all(len(set(ids)) == 10 for ids in hurried.tolist())
    assert recall(hurried, truth) < recall(patient, truth)
    assert (patient == index.search(queries, 10, ef=200).ids).all()
    allowed = np.arange(0, 2500, 2)
    assert (index.search(queries, 10, ef=200, where=allowed, budget=1e-9).ids % 2 == 0).all()


@pytest.mark.parametrize("budget", [0, -1.0, float("nan"), "1", True])
def test_what_is_no_budget_is_refused(budget):
    index = HNSW(4)
    index.add([1], np.ones((1, 4)))
    with pytest.raises(ParameterError, match="budget"):
        index.search(np.ones(4), 1, budget=budget)


def test_the_other_searches_take_a_budget_too():
    clustered = Clustered(48, topics=30)
    index = HNSW(48, M=8, ef_construction=40)
    index.add(np.arange(2500), clustered.draw(2500))
    assert (index.search_ids([1, 2], 10, ef=100, budget=60.0).ids == index.search_ids([1, 2], 10, ef=100).ids).all()
    assert index.search_ids([1, 2], 10, ef=100, budget=1e-9).ids.shape == (2, 10)
    query = clustered.draw(1)[0]
    assert len(index.search_range(query, -1.0, budget=60.0).ids[0]) == 2500
    assert 0 < len(index.search_range(query, -1.0, budget=1e-9).ids[0]) < 2500
    for search in (lambda budget: index.search_ids([1], budget=budget), lambda budget: index.search_range(query, 0.0, budget=budget)):
        with pytest.raises(ParameterError, match="budget"):
            search(-1.0)
