"""Where an index changes between scan and graph. Time passes only as the tests say: each operation spends what it is priced at."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnsw_pure import HNSW, BruteForce
from pyruvllm.config import Config, IndexConfig
from pyruvllm.memory.crossing import AHEAD, FEWEST, LARGEST_SLICE, SAMPLES, SLICE_MS, WORTH_MS, Cost, Crossing, Pace
from pyruvllm.memory.index import VectorIndex
from pyruvllm.types import Draft
from tests.contracts.stores import opening, vector
from tests.contracts.writeback import HandClock

CONFIG = IndexConfig(m=4, ef_construction=16, ef_search=2, exact_at_least=20, exact_below=400)


class PricedClock(HandClock):
    """Runs on by what is spent. scan: ms a vector, walk: ms a search, link: ms a vector."""

    def __init__(self, scan=0.0, walk=0.0, link=0.0):
        super().__init__()
        self.scan, self.walk, self.link, self.spent = scan, walk, link, 0.0

    def elapsed_ms(self):
        return self.spent


@pytest.fixture
def priced(monkeypatch):
    """A clock that every index spends on."""
    clock = PricedClock()
    searched, added = {kind: kind.search for kind in (HNSW, BruteForce)}, HNSW.add

    def scan(self, *args, **kwargs):
        clock.spent += clock.scan * len(self)
        return searched[BruteForce](self, *args, **kwargs)

    def walk(self, *args, **kwargs):
        clock.spent += clock.walk
        return searched[HNSW](self, *args, **kwargs)

    def add(self, ids, *args, **kwargs):
        clock.spent += clock.link * len(ids)
        return added(self, ids, *args, **kwargs)

    monkeypatch.setattr(BruteForce, "search", scan)
    monkeypatch.setattr(HNSW, "search", walk)
    monkeypatch.setattr(HNSW, "add", add)
    return clock


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


def filled(clock, count, config=CONFIG):
    index = VectorIndex(8, config, clock)
    index.add(range(count), np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32))
    return index


def asked(index, times=SAMPLES):
    for place in range(times):
        index.search(np.random.default_rng(place).standard_normal(8).astype(np.float32), 2)


def drafts(count, first=0):
    return [Draft(f"text {place}", f"d{place}", vector=vector(place)) for place in range(first, first + count)]


def test_a_cost_is_known_after_a_few_samples_and_forgives_interruptions():
    cost = Cost()
    for _ in range(FEWEST - 1):
        cost.note(6.0, 3)
    assert cost.ms is None
    cost.note(600.0, 3)
    assert cost.ms == pytest.approx(2.0)
    for _ in range(SAMPLES):
        cost.note(1.0)
    assert cost.ms == pytest.approx(1.0), "it follows what is measured now"


def test_a_clock_that_sees_nothing_says_nothing():
    cost = Cost()
    for _ in range(SAMPLES):
        cost.note(0.0)
    assert cost.ms is None


@given(st.none() | st.floats(1e-6, 1e3), st.none() | st.floats(1e-6, 1e3), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_crossing_stays_between_its_bounds_and_has_two_edges(scan, walk, one, other):
    low, high = sorted((one, other))
    crossing = Crossing(replace(CONFIG, exact_at_least=low, exact_below=high))
    for cost, ms in ((crossing.scan, scan), (crossing.walk, walk)):
        for _ in range(FEWEST if ms is not None else 0):
            cost.note(ms)
    at = crossing.at()
    assert low <= at <= high
    assert not crossing.outgrown(at) and crossing.outgrown(at + 1) and not crossing.shrunk(at + 1)
    assert all(not (crossing.outgrown(count) and crossing.shrunk(count)) for count in (0, low, at, high, high + 1))


def test_it_lies_where_a_scan_costs_twice_a_walk_or_is_worth_the_links():
    crossing = Crossing(replace(CONFIG, exact_at_least=10, exact_below=100_000))
    for _ in range(FEWEST):
        crossing.scan.note(0.001)
        crossing.walk.note(3.0)
    assert crossing.at() == pytest.approx(AHEAD * 3.0 / 0.001, abs=1)
    crossing.walk.forget()
    for _ in range(FEWEST):
        crossing.walk.note(0.01)
    assert crossing.at() == pytest.approx(WORTH_MS / 0.001, abs=1), "a graph that saves nothing to speak of is not built"


def test_without_searches_only_the_upper_bound_counts(priced):
    assert not filled(priced, 400).outgrown and filled(priced, 401).outgrown


def test_searches_decide_between_the_bounds(priced):
    priced.scan, priced.walk = 0.1, 5.0
    dear = filled(priced, 150)
    asked(dear)
    assert dear.outgrown, "a scan of 150 costs 15 ms, a walk will look at 32"
    priced.scan = 0.005
    cheap = filled(priced, 150)
    asked(cheap)
    assert not cheap.outgrown, "a scan of 150 costs less than a millisecond"


def test_filtered_searches_measure_nothing(priced):
    priced.scan = 1.0
    index = filled(priced, 30)
    for _ in range(SAMPLES):
        index.search(np.ones(8, np.float32), 5, np.arange(3))
    assert index.crossing.scan.ms is None


def test_a_walk_that_is_no_faster_ends_the_building(priced):
    priced.scan, priced.walk, priced.link = 0.1, 1e6, 1.0
    index = filled(priced, 390)
    asked(index)
    assert index.outgrown
    while index.outgrown and index.grow():
        pass
    assert index.kind == "exact" and not index.outgrown and index.growth[0] < 390
    index.give_up()
    asked(index)
    assert not index.outgrown and index.growth is None, "it does not begin again"


@pytest.mark.parametrize("link", [0.25, 1.0, 7.0, 100.0])
def test_slices_take_as_long_as_they_should(priced, link):
    priced.link = link
    index = filled(priced, 390)
    index.grow()
    taken = []
    while index.grow():
        done, start = index.growth[0], priced.spent
        if index.grow():
            taken.append((index.growth[0] - done, priced.spent - start))
    steps, ms = taken[-1] if taken else (1, link)
    assert ms <= max(SLICE_MS, link) and (ms > SLICE_MS / 3 or steps == 1)


@given(st.lists(st.floats(0, 1e4), max_size=30))
def test_a_pace_is_bounded_whatever_the_clock_says(took):
    clock = PricedClock()
    pace = Pace(clock)
    for ms in took:
        before = pace.steps
        with pace:
            clock.spent += ms
        assert 1 <= pace.steps <= min(2 * before, LARGEST_SLICE) or pace.steps == before


def test_a_slice_costs_what_it_takes_in_not_what_there_is(priced, monkeypatch):
    """Nothing in a slice looks at all numbers: the index is asked for those of the slice alone."""
    index = filled(priced, 390)
    index.grow()
    monkeypatch.setattr(BruteForce, "ids", property(lambda self: pytest.fail("all numbers were listed")))
    left = [index.grow() for _ in range(3)]
    assert left == sorted(left, reverse=True)


def test_what_changes_while_it_grows_is_in_it_once(priced):
    index = filled(priced, 100)
    index.grow()
    rows = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    index.remove([0, 1, 98, 99])  # of those linked and of those waiting
    index.add([0, 99, 200], rows)
    while index.grow():
        pass
    index.take_over()
    assert index.kind == "hnsw" and len(index) == 99
    for number, row in zip([0, 99, 200], rows, strict=True):
        numbers, cosines = index.search(row, 1)
        assert numbers.tolist() == [number] and cosines[0] == pytest.approx(1, abs=1e-5)
    assert not {1, 98} & set(index.search(rows[0], 99)[0].tolist())


async def test_a_memory_crosses_by_what_its_searches_cost_and_back(open_memory, priced):
    config = Config(index=replace(CONFIG, exact_below=10_000), clock=priced)
    memory = await open_memory(config=config)
    memory.put("documents", drafts(120))
    await memory.grown()
    index = memory.collection("documents").index
    assert index.kind == "exact"
    priced.scan, priced.walk = 0.1, 0.2
    for _ in range(FEWEST):
        memory.crossing.walk.note(0.2)  # as another collection found
    for place in range(SAMPLES):
        memory.search_with(None, vector(place), 3)
    await memory.grown()
    assert index.kind == "hnsw", "the scan of 120 costs 12 ms, the walk 0.2"
    found = [[hit.id for hit in memory.search_with(None, vector(place), 3)] for place in range(9)]
    await memory.close()
    memory = await open_memory(config=config)
    index = memory.collection("documents").index
    assert index.kind == "hnsw", "nothing measured since, and still what it was"
    assert [[hit.id for hit in memory.search_with(None, vector(place), 3)] for place in range(9)] == found
    memory.remove([f"d{place}" for place in range(4, 120)])
    await memory.grown()
    assert index.kind == "exact" and [hit.id for hit in memory.search_with(None, vector(2), 1)] == ["d2"]
    await memory.close()
    memory = await open_memory(config=config)
    assert memory.collection("documents").index.kind == "exact"
    assert memory.driver.query("SELECT count(*) FROM index_segments") == [(0,)]


async def test_upkeep_stands_aside_for_who_waits_for_a_flush(open_memory, priced):
    memory = await open_memory(config=Config(index=replace(CONFIG, exact_below=60), clock=priced))
    memory.put("documents", drafts(400))
    index = memory.collection("documents").index
    for _ in range(3):
        await asyncio.sleep(0)
    with memory.waiting.somebody():
        await asyncio.sleep(0)
        before = index.growth
        assert before is not None
        for _ in range(20):
            await asyncio.sleep(0)
        assert index.growth == before
    await memory.grown()
    assert index.kind == "hnsw"
