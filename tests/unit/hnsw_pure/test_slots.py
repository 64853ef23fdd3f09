"""Where ids are, against a dict: whatever is put, moved and deleted, in small numbers and in large."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hnsw_pure.metric import Metric
from hnsw_pure.segments import Ledger
from hnsw_pure.slots import SlotMap
from hnsw_pure.table import VectorTable


class Places(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.table = VectorTable(Metric("ip", 1), Ledger())
        self.held = {}

    @rule(count=st.sampled_from([1, 2, 30, 1500]), seed=st.integers(0, 1000))
    def put(self, count, seed):
        free = np.setdiff1d(np.random.default_rng(seed).choice(6000, count, replace=False), list(self.held))
        if len(free):
            slots = self.table.put(free, free[:, None].astype(np.float32))
            self.held.update(zip(free.tolist(), slots.tolist(), strict=True))

    @rule(count=st.sampled_from([1, 2, 30, 1500]), seed=st.integers(0, 1000))
    def wipe(self, count, seed):
        gone = np.random.default_rng(seed).permutation(sorted(self.held))[:count].astype(np.int64)
        self.table.wipe(self.table.slots(gone))
        for id in gone.tolist():
            del self.held[id]

    @rule()
    def compact(self):
        live = self.table.live()
        self.table.move(live, np.arange(len(live)))
        self.table.shrink()
        self.held = {int(id): slot for slot, id in enumerate(self.table.ids[: self.table.top])}

    @invariant()
    def every_id_is_where_it_was_put(self):
        ids = np.array(sorted(self.held), np.int64)
        assert len(self.table) == len(ids)
        assert self.table.slots(ids).tolist() == [self.held[id] for id in ids.tolist()]
        assert self.table.decode(self.table.slots(ids))[:, 0].tolist() == ids.tolist()
        assert [id for id in range(0, 6000, 97) if id in self.table] == [id for id in range(0, 6000, 97) if id in self.held]


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=30, stateful_step_count=30)


def test_twelve_bytes_an_id_and_few_in_the_dict():
    places, column = SlotMap(), np.full(100_000, -1, np.int64)
    order = np.random.default_rng(0).permutation(100_000)
    for start in range(0, 100_000, 250):
        slots = np.arange(start, start + 250)
        column[slots] = order[slots]
        places.put(order[slots], slots, column)
    assert places.nbytes < 25 * 100_000
    assert (places.find(order, column) == np.arange(100_000)).all()
    places.read(column)
    assert places.nbytes < 12.1 * 100_000


def test_what_is_no_id_is_not_held():
    table = VectorTable(Metric("ip", 1), Ledger())
    table.put(np.array([3]), np.ones((1, 1), np.float32))
    assert 3 in table and np.uint8(3) in table
    assert all(other not in table for other in (-1, 2, 2**63, "3", None, 3.5))
