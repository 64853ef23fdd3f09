import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyruvllm.cache import Form, Layout
from pyruvllm.cache.region import UNIT, Region, rounded
from pyruvllm.errors import ConfigError

LFM2_350M = Form(tuple(8 if layer in (2, 5, 8, 10, 12, 14) else 0 for layer in range(16)), 64)


class Blocks(RuleBasedStateMachine):
    """Against a list of which unit belongs to whom."""

    @initialize(fit=st.sampled_from(["best", "first"]), units=st.integers(1, 300))
    def begin(self, fit, units):
        self.region, self.units, self.blocks = Region(units * UNIT + 17, fit), np.zeros(units, bool), []

    @rule(size=st.integers(0, 40 * UNIT))
    def take(self, size):
        start = self.region.take(size)
        length = rounded(size) // UNIT
        runs = [at for at in range(len(self.units) - length + 1) if not self.units[at : at + length].any()]
        assert (start is None) == (not runs)
        if start is not None:
            assert start % UNIT == 0
            at = start // UNIT
            assert not self.units[at : at + length].any() and at + length <= len(self.units)
            if self.region.fit == "first":
                assert at == runs[0]
            self.units[at : at + length] = True
            self.blocks.append((start, size))

    @rule(data=st.data())
    def give(self, data):
        if self.blocks:
            start, size = self.blocks.pop(data.draw(st.integers(0, len(self.blocks) - 1)))
            self.region.give(start, size)
            self.units[start // UNIT : (start + rounded(size)) // UNIT] = False
            with pytest.raises(ConfigError, match="free already"):
                self.region.give(start, size)

    @invariant()
    def the_holes_are_the_free_units(self):
        if not hasattr(self, "region"):
            return
        edges = np.flatnonzero(np.diff(np.concatenate(([1], self.units, [1]))))
        expected = [(int(a) * UNIT, int(b - a) * UNIT) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        assert self.region.holes == expected
        assert self.region.free == sum(length for _, length in expected)
        assert self.region.largest == max((length for _, length in expected), default=0)


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


def test_a_map_says_how_full_each_part_of_what_was_touched_is():
    region = Region(1000 * UNIT)
    assert region.occupancy(4) == []
    starts = [region.take(10 * UNIT) for _ in range(8)]
    assert region.occupancy(4) == [1.0] * 4 and region.touched == 80 * UNIT
    for start in (starts[1], starts[4], starts[5], starts[7]):
        region.give(start, 10 * UNIT)
    assert region.occupancy(8) == [1, 0, 1, 1, 0, 0, 1, 0]
    assert region.occupancy(4) == [0.5, 1, 0, 0.5] and region.occupancy(1) == [0.5]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40 * UNIT), st.booleans()), min_size=1, max_size=60), st.integers(1, 130))
def test_the_parts_of_a_map_add_up_to_what_is_used(steps, cells):
    region, blocks = Region(300 * UNIT), []
    for size, back in steps:
        start = region.take(size)
        if start is not None:
            blocks.append((start, size))
        if back and blocks:
            region.give(*blocks.pop(len(blocks) // 2))
    found = region.occupancy(cells)
    assert sum(found) / cells * region.touched == pytest.approx(region.used, abs=0.0005 * region.touched + 1)


def test_classes_take_at_most_a_thirty_second_more():
    sizes = np.arange(1, 400_000, 97)
    given = np.array([rounded(int(size)) for size in sizes])
    assert (given >= sizes).all() and (given % UNIT == 0).all()
    whole = -(-sizes // UNIT) * UNIT
    assert (given - whole <= whole / 32).all()


@pytest.mark.parametrize(("fit", "most"), [("best", 0.95), ("first", 0.9)])
def test_pages_of_every_kind_use_nearly_all_of_it_under_churn(fit, most):
    """What is held, in bytes that were asked for, whenever something does not fit any more."""
    random, region = np.random.default_rng(1), Region(64 << 20, fit)
    sizes = [Layout.of(LFM2_350M, kind).size for kind in ("f16", "q8", "q8q4", "q4")]
    held, filled = [], []
    for _ in range(4000):
        size = int(random.choice(sizes))
        start = region.take(size)
        if start is None:
            filled.append(sum(size for _, size in held) / region.size)
            random.shuffle(held)
            for start, size in held[: len(held) // 8]:
                region.give(start, size)
            del held[: len(held) // 8]
        else:
            held.append((start, size))
    assert len(filled) > 20
    assert np.median(filled) > most, (np.median(filled), np.min(filled))
