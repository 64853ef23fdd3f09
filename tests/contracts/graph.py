"""What the graph promises, against a dict of edges in plain Python. Bound by ``open_memory`` of ``tests.contracts.stores``."""

import copy
import math
from collections import deque
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.errors import ConfigError, NotFoundError
from pyruvllm.memory import adjacency, graph
from pyruvllm.memory.graph import STRUCTURE, Edge
from pyruvllm.types import Draft
from tests.contracts.stores import another, tables, vector

NODES = st.integers(0, 7).map("n{}".format)
RELATIONS = st.sampled_from(["cites", "similar", "same_topic", "derived"])
WEIGHTS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 4.0])
KEY = st.tuples(NODES, RELATIONS, NODES)
STEP = st.one_of(
    st.tuples(st.just("link"), st.lists(st.tuples(KEY, WEIGHTS), min_size=1, max_size=6)),
    st.tuples(st.just("unlink"), KEY),
    st.tuples(st.just("detach"), st.lists(NODES, max_size=2)),
    st.tuples(st.just("scale"), st.lists(KEY, max_size=4), st.sampled_from([0.98, 1.05, 20.0])),
    st.tuples(st.just("walk")),
    st.tuples(st.just("prepare")),
)
SWEEP = st.one_of(
    st.tuples(st.just("decay"), st.sampled_from([0.5, 0.9]), st.none() | RELATIONS),
    st.tuples(st.just("prune"), st.sampled_from([0.3, 1.0]), st.none() | RELATIONS),
)
STEPS = st.lists(STEP | SWEEP | st.tuples(st.just("transaction"), st.lists(STEP, max_size=4), st.booleans()), min_size=1, max_size=8)
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


class Abandoned(Exception):
    pass


class Model:
    """edges: (source, relation, target) -> weight."""

    def __init__(self):
        self.edges: dict[tuple[str, str, str], float] = {}

    def link(self, given):
        self.edges.update(dict(given))

    def unlink(self, key):
        return self.edges.pop(key, None) is not None

    def detach(self, nodes):
        gone = [key for key in self.edges if key[0] in nodes or key[2] in nodes]
        for key in gone:
            del self.edges[key]
        return len(gone)

    def scale(self, keys, factor):
        known = [key for key in dict.fromkeys(keys) if key in self.edges]
        for key in known:
            grown = self.edges[key] * factor
            self.edges[key] = grown if grown <= self.edges[key] else max(self.edges[key], min(10.0, grown))
        return len(known)

    def _fading(self, relation):
        return [key for key in self.edges if (key[1] == relation if relation else key[1] not in STRUCTURE)]

    def decay(self, factor, relation):
        for key in self._fading(relation):
            self.edges[key] *= factor
        return len(self._fading(relation))

    def prune(self, below, relation):
        gone = [key for key in self._fading(relation) if self.edges[key] < below]
        for key in gone:
            del self.edges[key]
        return len(gone)

    def steps(self, node, relations, direction, least):
        """(next node, key) over every edge that counts."""
        for key, weight in self.edges.items():
            if weight >= least and (relations is None or key[1] in relations):
                if key[0] == node and direction != "in":
                    yield key[2], key
                if key[2] == node and direction != "out":
                    yield key[0], key

    def depths(self, starts, relations, direction, least):
        depths, queue = dict.fromkeys(starts, 0), deque(starts)
        while queue:
            node = queue.popleft()
            for other, _ in self.steps(node, relations, direction, least):
                if other not in depths:
                    depths[other] = depths[node] + 1
                    queue.append(other)
        return depths

    def cost(self, source, target, relations, direction, least):
        """The least sum of 1 / weight: every node is relaxed as often as there are nodes."""
        costs = {source: 0.0}
        for _ in range(9):
            for node, cost in list(costs.items()):
                for other, key in self.steps(node, relations, direction, least):
                    if self.edges[key] > 0:
                        costs[other] = min(costs.get(other, math.inf), cost + 1 / self.edges[key])
        return costs.get(target)


class Run:
    """One history, on a graph and its model at once."""

    def __init__(self, memory):
        self.memory, self.graph, self.model = memory, memory.graph, Model()

    def apply(self, step):
        name, *given = step
        if name == "transaction":
            saved = copy.deepcopy(self.model)
            try:
                with self.memory.transaction():
                    for inner in given[0]:
                        self.apply(inner)
                    if given[1]:
                        raise Abandoned
            except Abandoned:
                self.model = saved
        elif name == "walk":
            self.check_walks()
        elif name == "prepare":
            if self.graph._adjacency is None and not self.graph.changes:
                self.graph.prepare()
        elif name == "link":
            self.model.link(given[0])
            self.graph.link_many(Edge(key[0], key[2], key[1], weight) for key, weight in given[0])
        elif name == "unlink":
            source, relation, target = given[0]
            if self.model.unlink(given[0]):
                self.graph.unlink(source, target, relation)
            else:
                with pytest.raises(NotFoundError):
                    self.graph.unlink(source, target, relation)
        elif name == "scale":
            assert self.graph.scale_many(*given) == self.model.scale(*given)
        else:
            assert self.graph.detach(*given) == self.model.detach(*given)

    async def sweep(self, name, *given):
        assert await getattr(self.graph, name)(*given) == getattr(self.model, name)(*given)

    def check(self):
        rows = {(e[0], e[1], e[2]): e[3] for e in self.memory.driver.query("SELECT source, relation, target, weight FROM edges")}
        assert rows == self.model.edges
        assert self.graph.count() == len(self.model.edges)
        assert len(self.graph.adjacency) == len(self.model.edges)

    def check_walks(self):
        questions = [(None, "both", 0.0), (None, "out", 0.5), (["cites", "similar"], "in", 0.0), ("derived", "out", 1.0)]
        for relations, direction, least in questions:
            names = [relations] if isinstance(relations, str) else relations
            asked = {"relations": relations, "direction": direction, "least": least}
            depths = self.model.depths(["n0", "n1"], names, direction, least)
            reached = self.graph.traverse(["n0", "n1"], depth=9, **asked)
            assert {found.id: found.depth for found in reached} == {id: depth for id, depth in depths.items() if depth}
            for found in reached:
                leading = [
                    self.model.edges[key]
                    for node, depth in depths.items()
                    if depth == found.depth - 1
                    for other, key in self.model.steps(node, names, direction, least)
                    if other == found.id
                ]
                assert found.weight == max(leading) and depths[found.through] == found.depth - 1
            path = self.graph.shortest_path("n0", "n2", **asked)
            assert (None if path is None else len(path)) == self.model.depths(["n0"], names, direction, least).get("n2")
            self.check_path(path, direction)
            path = self.graph.shortest_path("n0", "n2", by="weight", **asked)
            cost = self.model.cost("n0", "n2", names, direction, least)
            assert (None if path is None else sum(1 / edge.weight for edge in path)) == (None if cost is None else pytest.approx(cost))
            self.check_path(path, direction)

    def check_path(self, path, direction):
        at = "n0"
        for edge in path or ():
            assert self.model.edges[edge.source, edge.relation, edge.target] == edge.weight
            assert at == edge.source or direction != "out" and at == edge.target
            at = edge.target if at == edge.source else edge.source
        assert path is None or at == "n2"


class GraphContract:
    @settings(max_examples=40, deadline=None, suppress_health_check=SHARED)
    @given(steps=STEPS, spare=st.sampled_from([1, 3, 4096]))
    async def test_any_history_leaves_what_the_model_says(self, open_memory, steps, spare):
        memory = await open_memory(another())
        kept = adjacency.SPARE, graph.SLICE, graph.SWEPT
        adjacency.SPARE, graph.SLICE, graph.SWEPT = spare, 2, 2  # laid out anew now and then; two rows in a slice
        try:
            run = Run(memory)
            for step in steps:
                if step[0] in ("decay", "prune"):
                    await run.sweep(*step)
                else:
                    run.apply(step)
            run.check()
            run.check_walks()
        finally:
            adjacency.SPARE, graph.SLICE, graph.SWEPT = kept

    async def test_a_failed_transaction_leaves_rows_and_arrays_as_they_were(self, open_memory):
        memory = await open_memory()
        memory.put("documents", [Draft(id, id, vector=vector(place)) for place, id in enumerate("abc")])
        memory.graph.link_many([Edge("a", "b", "cites"), Edge("b", "c", "cites", 2.0)])
        before = memory.graph.traverse("a", depth=5)
        for _ in range(2):  # the second time the arrays were there before
            with pytest.raises(ZeroDivisionError), memory.transaction():
                memory.graph.link("a", "z", "cites")
                memory.graph.reinforce("a", "b", "cites", useful=True)
                memory.remove(["c"])
                assert {found.id for found in memory.graph.traverse("a", depth=5)} == {"b", "z"}
                raise ZeroDivisionError
            memory.graph.link("q", "r", "cites")  # a later change brings nothing of the failed ones with it
            assert memory.graph.traverse("a", depth=5) == before
            assert memory.graph.shortest_path("a", "z") is None

    async def test_changes_while_the_arrays_are_made_are_in_them(self, open_memory, monkeypatch):
        monkeypatch.setattr(graph, "SLICE", 3)
        memory = await open_memory()
        edges = memory.graph
        edges.link_many(Edge(f"n{place}", f"n{place + 1}", "similar") for place in range(10))
        edges.prepare()
        edges.link("n0", "n2", "similar", weight=3.0)  # into what was read
        edges.link("n8", "n0", "similar", weight=4.0)  # into what was not
        edges.unlink("n1", "n2", "similar")
        edges.detach(["n9"])
        edges.prepare()
        with pytest.raises(ZeroDivisionError), memory.transaction():
            edges.detach(["n0"])
            raise ZeroDivisionError
        assert {found.id: found.weight for found in edges.traverse("n0", depth=1)} == {"n1": 1.0, "n2": 3.0, "n8": 4.0}
        assert len(edges.adjacency) == edges.count() == 9
        edges.forget_adjacency()
        edges.prepare()
        await edges.decay(0.5)
        assert {found.weight for found in edges.traverse("n3", depth=9)} == {0.5, 1.5, 2.0}

    async def test_reinforcement_is_five_percent_up_to_ten_and_two_down(self, open_memory):
        edges = (await open_memory()).graph
        edges.link_many([Edge("a", "b", "similar"), Edge("a", "c", "similar", 9.9)])
        assert edges.reinforce("a", "b", "similar", useful=True).weight == pytest.approx(1.05)
        assert edges.reinforce("a", "b", "similar", useful=False).weight == pytest.approx(1.05 * 0.98)
        assert edges.reinforce("a", "c", "similar", useful=True).weight == 10.0
        edges.link("x", "y", "similar", weight=50)
        assert edges.reinforce("x", "y", "similar", useful=True).weight == 50.0, "it is over the bound, and no lighter for being useful"
        assert edges.reinforce("x", "y", "similar", useful=False).weight == 49.0
        keys = [("a", "similar", "b"), ("a", "similar", "c"), ("a", "similar", "nothing"), ("a", "similar", "b")]
        assert edges.reinforce_many(keys, useful=False) == 2
        assert [edge.weight for edge in edges.edges("a")] == pytest.approx([9.8, 1.05 * 0.98 * 0.98])
        with pytest.raises(NotFoundError, match="'b' 'similar' 'a'"):
            edges.reinforce("b", "a", "similar", useful=True)

    async def test_structure_neither_fades_nor_is_pruned_unless_named(self, open_memory):
        edges = (await open_memory()).graph
        edges.link_many(Edge("a", "b", relation) for relation in (*STRUCTURE, "similar", "agent_step"))
        assert await edges.decay(0.5) == 2 and await edges.prune(0.75) == 2
        assert edges.count() == len(STRUCTURE)
        assert await edges.decay(0.5, "cites") == 1 and await edges.prune(0.75, "cites") == 1 and edges.count("cites") == 0

    async def test_a_walk_is_bounded_by_depth_weight_relation_and_count(self, open_memory):
        edges = (await open_memory()).graph
        edges.link_many(Edge("hub", f"leaf{place}", "cites", place / 10) for place in range(1, 10))
        edges.link("leaf9", "far", "follows")
        assert [found.id for found in edges.traverse("hub", depth=1, limit=3)] == ["leaf9", "leaf8", "leaf7"]
        assert [found.id for found in edges.traverse("hub", depth=2, least=0.75)] == ["leaf9", "leaf8", "far"]
        assert edges.traverse("hub", depth=2, least=0.75)[-1] == graph.Reached("far", 2, 1.0, "follows", "leaf9")
        assert edges.traverse("hub", relations="follows") == [] == edges.traverse("nowhere") == edges.traverse([])
        assert edges.neighbours("hub", limit=2) == ["leaf9", "leaf8"]

    async def test_a_path_comes_back_as_the_edges_that_are_written(self, open_memory):
        memory = await open_memory()
        edges = memory.graph
        written = edges.link_many([Edge("b", "a", "follows", 0.5), Edge("b", "c", "cites", 4.0, 0.5), Edge("a", "c", "cites", 0.1)])
        memory.clock.now += 1000
        assert edges.shortest_path("a", "c", by="weight") == [written[0], written[1]]
        assert edges.shortest_path("a", "c") == [written[2]]
        assert edges.shortest_path("c", "a", direction="out") is None
        assert edges.shortest_path("a", "a") == [] and edges.shortest_path("a", "nobody") is None

    async def test_no_edge_survives_what_it_touches(self, open_memory):
        """Whoever deletes the row: the tables themselves see to it."""
        memory = await open_memory()
        memory.put("documents", [Draft("a", "a"), Draft("b", "b")])
        memory.graph.link_many([Edge("a", "b", "follows"), Edge("user", "a", "cites"), Edge("user", "b", "cites")])
        memory.driver.execute("DELETE FROM records WHERE id = 'a'")
        assert tables(memory)["edges"] == 1
        assert memory.driver.query("SELECT count(*) FROM nodes WHERE id = 'a'") == [(0,)]

    async def test_what_cannot_be_is_refused(self, open_memory):
        edges = (await open_memory()).graph
        edges.link("a", "b", "cites")
        for call in (
            lambda: edges.link("a", "b", "cites", weight=math.inf),
            lambda: edges.scale_many([("a", "cites", "b")], -1),
            lambda: edges.scale_many([("a", "cites", "b")], "2"),
            lambda: edges.traverse("a", depth=0),
            lambda: edges.traverse("a", limit=0),
            lambda: edges.traverse("a", direction="sideways"),
            lambda: edges.shortest_path("a", "b", by="feeling"),
            lambda: edges.shortest_path("a", "b", direction="sideways"),
            lambda: edges.edges("a", direction="sideways"),
        ):
            with pytest.raises(ConfigError):
                call()
        for sweep in (lambda: edges.decay(1.5), lambda: edges.decay("a"), lambda: edges.prune("a"), lambda: edges.prune(math.nan)):
            with pytest.raises(ConfigError):
                await sweep()
        edges.link("a", "b", "similar")
        for relation in (3, ["similar"]):
            with pytest.raises(ConfigError):
                await edges.prune(9, relation)
        edges.unlink("a", "b", "similar")
        assert edges.edges("a") == [replace(edges.edges("a")[0], weight=1.0)]

    async def test_edges_come_back_after_reopening(self, open_memory):
        memory = await open_memory()
        memory.graph.link_many(Edge(f"n{place}", f"n{place + 1}", "similar", place / 7) for place in range(20))
        before = memory.graph.traverse("n3", depth=20)
        await memory.close()
        assert (await open_memory()).graph.traverse("n3", depth=20) == before
