"""The unified memory against a model in plain Python, through random histories. Bound by ``open_memory`` of ``tests.contracts.stores``."""

import copy
import math
from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.config import Config, IndexConfig
from pyruvllm.memory.fulltext import K1, B
from pyruvllm.memory.words import words
from pyruvllm.types import Draft
from tests.contracts.stores import another, vector
from tests.contracts.writeback import HandClock

WORDS = ("apple", "boat", "cloud", "door", "engine")
IDS = st.integers(0, 9).map("r{}".format)
TEXTS = st.lists(st.sampled_from(WORDS), min_size=0, max_size=5).map(" ".join)
SEEDS = st.integers(0, 40)
STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(["left", "right"]), st.lists(st.tuples(IDS, TEXTS, SEEDS), min_size=1, max_size=4)),
    st.tuples(st.just("revise"), IDS, st.none() | TEXTS, st.none() | SEEDS),
    st.tuples(st.just("remove"), st.lists(IDS, min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("link"), IDS, IDS),
    st.tuples(st.just("reopen")),
)
STEPS = st.recursive(
    st.lists(STEP, max_size=6),
    lambda inner: st.lists(STEP | st.tuples(st.just("transaction"), inner, st.booleans()), max_size=6),
    max_leaves=4,
)


class Abandoned(Exception):
    pass


class Model:
    """records: id -> [collection, text, seed of the vector, order of arrival]. edges: (later, earlier)."""

    def __init__(self):
        self.records, self.edges, self.arrived = {}, set(), 0

    def nearest(self, names, query):
        """(id, cosine), best first."""
        scored = [(id, float(vector(seed) @ query)) for id, (name, _, seed, _) in self.records.items() if name in names]
        return sorted(scored, key=lambda pair: -pair[1])

    def bm25(self, names, text):
        """id -> score, as the textbook has it, over all the named collections as one."""
        bags = {id: Counter(word for word, _ in words(text)) for id, (name, text, _, _) in self.records.items() if name in names}
        mean = sum(sum(bag.values()) for bag in bags.values()) / max(1, len(bags))
        scores = Counter()
        for word in {word for word, _ in words(text)}:
            having = sum(word in bag for bag in bags.values())
            weight = math.log(1 + (len(bags) - having + 0.5) / (having + 0.5))
            for id, bag in bags.items():
                if bag[word]:
                    scores[id] += weight * (K1 + 1) * bag[word] / (bag[word] + K1 * (1 - B + B * sum(bag.values()) / mean))
        return scores


class Run:
    """One history, on a memory and its model at once."""

    def __init__(self, open_memory, config):
        self.name, self.open_memory, self.config, self.model = another(), open_memory, config, Model()

    async def start(self):
        self.memory = await self.open_memory(self.name, config=self.config)

    async def play(self, steps):
        for step in steps:
            if step[0] == "reopen":
                before = self.answers()
                await self.memory.close()
                await self.start()
                assert self.answers() == before
            else:
                self.apply(step)
            self.check()

    def apply(self, step):
        if step[0] == "transaction":
            saved = copy.deepcopy(self.model)
            try:
                with self.memory.transaction():
                    for inner in step[1]:
                        if inner[0] != "reopen":
                            self.apply(inner)
                    if step[2]:
                        raise Abandoned
            except Abandoned:
                self.model = saved
        else:
            getattr(self, step[0])(*step[1:])

    def put(self, name, drafts):
        records = self.model.records
        fresh = {id: (text, seed) for id, text, seed in drafts if id not in records}
        self.memory.put(name, [Draft(text, id, {"seed": seed}, vector(seed)) for id, (text, seed) in fresh.items()])
        for id, (text, seed) in fresh.items():
            self.model.arrived += 1
            records[id] = [name, text, seed, self.model.arrived]

    def revise(self, id, text, seed):
        if id in self.model.records:
            self.memory.revise(id, text=text, vector=None if seed is None else vector(seed))
            record = self.model.records[id]
            record[1] = record[1] if text is None else text
            record[2] = record[2] if seed is None else seed

    def remove(self, ids):
        known = [id for id in ids if id in self.model.records]
        assert self.memory.remove(known) == len(known)
        for id in known:
            del self.model.records[id]
        self.model.edges = {edge for edge in self.model.edges if not set(edge) & set(known)}

    def link(self, later, earlier):
        if {later, earlier} <= self.model.records.keys() and later != earlier:
            self.memory.graph.link(later, earlier, "follows")
            self.model.edges.add((later, earlier))

    def answers(self):
        return [
            self.memory.search_with(text, vector(50 + place), 20, collections=names, mode=mode)
            for place, text in enumerate(("apple boat", "door"))
            for names in (("left",), ("left", "right"))
            for mode in ("text", "vector", "hybrid")
        ]

    def check(self):
        memory, model = self.memory, self.model
        for names in (("left",), ("right",), ("left", "right")):
            inside = {id for id, record in model.records.items() if record[0] in names}
            query = vector(77)
            hits = memory.search_with(None, query, 20, collections=names)
            assert [round(hit.score, 3) for hit in hits] == [round(score, 3) for _, score in model.nearest(names, query)]
            assert {hit.id for hit in hits} == inside
            scores = model.bm25(names, "apple engine cloud")
            hits = memory.search_with("apple engine cloud", None, 20, collections=names)
            assert {hit.id for hit in hits} == scores.keys()
            np.testing.assert_allclose([hit.score for hit in hits], [scores[hit.id] for hit in hits], rtol=1e-4)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            fused = memory.search_with("apple engine cloud", query, 20, collections=names)
            assert {hit.id for hit in fused} == inside and len(fused) == len(inside)
        for id, (name, text, seed, _) in model.records.items():
            record = memory.get(id)
            assert (record.collection, record.text) == (name, text) and np.array_equal(memory.vector(id), vector(seed))
        rows = memory.driver.query("SELECT id FROM records ORDER BY number")
        assert [id for (id,) in rows] == sorted(model.records, key=lambda id: model.records[id][3])
        for table in ("vectors", "postings"):
            assert memory.driver.query(f"SELECT count(*) FROM {table}") == [(len(model.records),)]
        assert set(memory.driver.query("SELECT source, target FROM edges")) == model.edges


SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # each example opens a memory of another name


class MemoryModelContract:
    @settings(max_examples=40, suppress_health_check=SHARED)
    @given(STEPS)
    async def test_any_history_leaves_what_the_model_says(self, open_memory, steps):
        run = Run(open_memory, replace(Config(), clock=HandClock()))
        await run.start()
        await run.play(steps)
        await run.memory.close()

    @settings(max_examples=15, suppress_health_check=SHARED)
    @given(STEPS)
    async def test_so_it_does_with_a_saved_index(self, open_memory, steps):
        run = Run(open_memory, Config(index=IndexConfig(m=8, ef_construction=32, exact_below=1), clock=HandClock()))
        await run.start()
        run.put("left", [(f"r{place}", f"apple {WORDS[place % 5]}", place) for place in range(6)])
        await run.memory.grown()
        assert run.memory.collection("left").index.kind == "hnsw"
        await run.play(steps)
        await run.memory.close()
