"""Memory for kernels natively: arrays do not overlap, and what nobody holds any more is used again."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyruvllm.errors import KernelError
from pyruvllm.kernels.arena import ALIGN, PAGE, Arena


class Allocations(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.arena = Arena()
        self.held = []
        self.mark = 0

    @rule(size=st.integers(0, 300_000) | st.integers(0, 200))
    def take(self, size):
        array = self.arena.empty(size, np.uint8)
        self.mark = (self.mark + 1) % 251
        array[:] = self.mark
        self.held.append((self.mark, array))

    @rule(at=st.integers(0, 50))
    def give(self, at):
        if self.held:
            del self.held[at % len(self.held)]

    @rule(at=st.integers(0, 50))
    def keep_a_view_only(self, at):
        if self.held:
            mark, array = self.held.pop(at % len(self.held))
            self.held.append((mark, array[len(array) // 2 :]))

    @invariant()
    def every_array_holds_what_was_written(self):
        for mark, array in self.held:
            assert (array == mark).all()

    @invariant()
    def free_memory_is_apart_and_in_order(self):
        holes = self.arena._holes
        assert all(sum(left) < right[0] for left, right in zip(holes, holes[1:], strict=False))

    def teardown(self):
        self.held.clear()
        gc.collect()
        self.every_byte_is_free()

    def every_byte_is_free(self):
        assert sum(length for _, length in self.arena._holes) == self.arena._end - 4 * PAGE


TestAllocations = Allocations.TestCase
TestAllocations.settings = settings(max_examples=30, stateful_step_count=40)


@given(st.lists(st.integers(2, 5000), min_size=1, max_size=20))
def test_arrays_are_aligned_and_inside(sizes):
    arena = Arena()
    arrays = [arena.empty((size, 3), np.float32) for size in sizes]
    for array in arrays:
        assert array.shape[1] == 3 and array.dtype == np.float32 and array.flags.writeable
        assert arena.address(array) % ALIGN == 0
        assert arena.address(array[1:]) == arena.address(array) + 12
    assert arena.address(np.zeros(3)) is None


def test_a_full_arena_says_how_full_and_goes_on():
    arena = Arena(limit=20 * PAGE)
    kept = arena.empty(10 * PAGE, np.uint8)
    with pytest.raises(MemoryError, match=f"of at most {20 * PAGE} are in use"):
        arena.empty(10 * PAGE, np.uint8)
    del kept
    assert arena.empty(14 * PAGE, np.uint8).size == 14 * PAGE


def test_growing_moves_nothing():
    arena = Arena()
    first = arena.empty(1000, np.float64)
    first[:] = np.arange(1000)
    rest = [arena.empty(8 * PAGE, np.uint8) for _ in range(50)]
    assert (first == np.arange(1000)).all() and len(rest) == 50


def test_a_module_that_is_none_is_named():
    with pytest.raises(KernelError):
        Arena().load(b"\0asm\1\0\0\0", "nothing.wasm")
