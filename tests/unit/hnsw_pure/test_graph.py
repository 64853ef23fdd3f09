"""The graph under the index: links, levels, the tree, repair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnsw_pure import HNSW, CorruptSegmentError, ParameterError, segments
from hnsw_pure.insert import diverse
from hnsw_pure.search import Visited
from tests.generators.clustered import Clustered


def built(count: int, dim: int = 32, **options) -> tuple[HNSW, np.ndarray]:
    vectors = Clustered(dim, seed=11, topics=20).draw(count)
    index = HNSW(dim, **options)
    index.add(np.arange(count), vectors)
    return index, vectors


def reached(index: HNSW) -> np.ndarray:
    """Slots that the ground's links lead to from the entry point."""
    graph = index._graph
    seen = np.zeros(len(graph.levels) + 1, bool)
    frontier = np.array([graph.entry])
    while len(frontier):
        seen[frontier] = True
        near = np.unique(graph.ground.lists(frontier))
        frontier = near[(near >= 0) & ~seen[near]]
    return np.flatnonzero(seen)


def fault(index: HNSW) -> str | None:
    live = np.zeros(len(index._graph.levels), bool)
    live[index._table.live()] = True
    return index._graph.fault(live)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), m=st.integers(2, 5), kind=st.sampled_from(("spread", "equal", "line")), batch=st.integers(1, 90))
def test_every_node_is_reached_whatever_goes(seed, m, kind, batch):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((180, 3))
    if kind == "equal":
        vectors = np.sign(vectors)
    elif kind == "line":
        vectors = np.linspace(1, 180, 180)[:, None] * np.ones(3)
    index = HNSW(3, M=m, ef_construction=m + 3, metric="l2")
    for some in np.array_split(np.arange(180), -(-180 // batch)):
        index.add(some, vectors[some])
    left = random.permutation(180)
    while len(left) > 3:
        gone, left = left[: len(left) // 3], left[len(left) // 3 :]
        index.delete(gone)
        assert fault(index) is None
        assert len(reached(index)) == len(left) == len(index)


def test_links_are_bounded_and_levels_thin_out():
    index, _ = built(3000, M=8)
    graph = index._graph
    assert [layer.lists(graph.entry).shape[-1] for layer in graph.layers] == [16] + [8] * len(graph.upper)
    sizes = [int((graph.levels >= level).sum()) for level in range(len(graph.layers))]
    assert sizes[0] == 3000 and 3000 / 16 < sizes[1] < 3000 / 4 and graph.levels[graph.entry] == len(graph.upper)


def test_entry_point_moves_when_it_is_deleted():
    index, vectors = built(500, M=4)
    while len(index) > 1:
        entry = index._graph.entry
        index.delete([int(index._table.ids[entry])])
        graph = index._graph
        assert graph.entry != entry and graph.levels[graph.entry] == graph.levels.max() == len(graph.upper)
    assert index.search(vectors[0], 3).ids[0].tolist() == [index.ids[0], -1, -1]


def test_compacting_without_upper_layers():
    index = HNSW(4, seed=1)
    index.add([1, 2], np.eye(4)[:2])
    assert not index._graph.upper
    index.delete([1])
    assert index.compact() == 0
    assert index.search(np.eye(4)[1], 1).ids.tolist() == [[2]]


def test_levels_depend_on_id_and_seed_alone():
    index, _ = built(10)
    ids = np.random.default_rng(0).integers(0, 2**62, 5000)
    levels = index._graph.draw_levels(ids)
    assert (index._graph.draw_levels(ids[::-1]) == levels[::-1]).all()
    other, _ = built(10, seed=1)
    assert (other._graph.draw_levels(ids) != levels).any()
    assert 0.02 < (levels >= 1).mean() < 0.045  # 1/32


def test_neighbours_are_chosen_as_algorithm_4_says():
    index, vectors = built(400)
    table = index._table
    node, near = 0, np.arange(1, 400)
    values = table.decode(near) @ table.decode(node)
    order = np.argsort(-values)
    near, values = near[order], values[order]
    expected: list[int] = []
    for position, candidate in enumerate(near):  # the paper's loop, a candidate at a time
        to_chosen = [table.decode(candidate) @ table.decode(near[other]) for other in expected]
        if len(expected) < 12 and all(values[position] > value for value in to_chosen):
            expected.append(position)
    assert diverse(table, near, values, 12).tolist() == expected
    pinned = np.zeros(len(near), bool)
    pinned[[5, 300]] = True
    chosen = diverse(table, near, values, 4, pinned)
    assert len(chosen) <= 4 and {5, 300} <= set(chosen.tolist()) and chosen[0] == 0


def test_deleted_nodes_leave_neighbours_that_are_near():
    """Whoever lost a link finds the way on: most of its nearest are its neighbours' neighbours at least."""
    index, vectors = built(1500, M=6, ef_construction=40)
    gone = np.arange(0, 1500, 3)
    for some in np.array_split(gone, 10):
        index.delete(some)
    kept = np.setdiff1d(np.arange(1500), gone)
    ground = index._graph.ground
    degrees = (ground.lists(kept) >= 0).sum(axis=1)
    assert degrees.mean() > 5
    fresh = HNSW(32, M=6, ef_construction=40)
    fresh.add(kept, vectors[kept])

    def near_share(index):
        shares = []
        for id in kept[:200]:
            nearest = kept[np.argsort(-(vectors[kept] @ vectors[id]))[1:6]]
            graph, slot = index._graph, index._table.slots(np.array([id]))[0]
            two_steps = index._table.ids[np.append(graph.ground.lists(graph.ground.list(slot)).ravel(), graph.ground.list(slot))]
            shares.append(np.isin(nearest, two_steps).mean())
        return np.mean(shares)

    assert near_share(index) > near_share(fresh) - 0.1


def test_filtered_walk_never_gives_fewer_than_exist():
    index, vectors = built(3000, M=4, ef_construction=16)
    allowed = np.argsort(vectors @ vectors[7])[:1500]  # the half that is farthest from the query
    hits = index.search(vectors[7], 10, ef=10, where=allowed)
    assert np.isin(hits.ids, allowed).all() and len(np.unique(hits.ids)) == 10


def test_visited_gives_each_slot_once():
    visited = Visited()
    visited.begin(10)
    assert sorted(visited.fresh(np.array([3, 3, -1, 9, 3, -1])).tolist()) == [3, 9]
    assert visited.fresh(np.array([9, 0, -1])).tolist() == [0]
    visited.begin(10)
    assert visited.fresh(np.array([9])).tolist() == [9]


@pytest.mark.parametrize(
    "options", [{"M": 1}, {"M": 2000}, {"M": 3.0}, {"ef_construction": 31}, {"ef_search": 0}, {"seed": -1}, {"seed": "x"}, {"M": True}]
)
def test_refused_settings(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        HNSW(8, **options)


def test_ef_search_is_the_default_ef():
    index, vectors = built(2000, M=4, ef_construction=16, ef_search=300)
    assert (index.search(vectors[:20], 10).ids == index.search(vectors[:20], 10, ef=300).ids).all()


@pytest.mark.parametrize(
    "name, change, says",
    [
        ("links/0", lambda payload: (1).to_bytes(4, "little", signed=True) * 20 + payload[80:], "tree"),  # node 1 is everyone's parent
        ("links/0", lambda payload: payload[:-4] + (19_999).to_bytes(4, "little"), "not on it"),
        ("links/0", lambda payload: payload[:-4] + (19).to_bytes(4, "little"), "itself"),
        ("links/0", lambda payload: payload[:80] + (60_000).to_bytes(2, "little") + payload[82:], "at most"),
        ("upper/1", lambda payload: payload[:4] + (19_999).to_bytes(4, "little") + payload[8:], "not on the layer below"),
    ],
)
def test_segments_that_are_whole_but_make_no_graph(name, change, says):
    index, _ = built(20, M=2, ef_construction=8)
    saved = index.segments()
    head, payloads = segments.open_segments(saved)
    forged = saved | {name: segments.frame(change(payloads[name]))}
    sums = {part: segments.checksum(segment) for part, segment in forged.items() if part != "head"}
    with pytest.raises(CorruptSegmentError, match=says):
        HNSW.from_segments(forged | {"head": segments.frame_head(head, sums)})
