"""Memory for kernels natively: arrays do not overlap, and what nobody holds any more is used again."""

import gc
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyruvllm.errors import KernelError
from pyruvllm.kernels.arena import ALIGN, PAGE, STACK, Arena


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
        free = [*self.arena._holes, *self.arena._given]
        assert sum(length for _, length in free) == self.arena._end - STACK


TestAllocations = Allocations.TestCase
TestAllocations.settings = settings(max_examples=30, stateful_step_count=40)


class Ring:
    """What only garbage collection frees."""

    def __init__(self, array):
        self.array, self.ring = array, self


def test_garbage_collection_in_the_middle_of_an_allocation_harms_nothing():
    arena, random, held, within = Arena(), Random(20261124), [], []
    take, give = arena._take, arena._give
    taking = False

    def watched_take(size):
        nonlocal taking
        taking = True
        try:
            return take(size)
        finally:
            taking = False

    def watched_give(start, size):
        within.append(taking)
        give(start, size)

    arena._take, arena._give = watched_take, watched_give
    threshold = gc.get_threshold()
    try:
        for mark in range(5000):
            gc.set_threshold(0)
            while len(held) > 40:
                Ring(held.pop(random.randrange(len(held)))[1])
            gc.set_threshold(random.randrange(1, 20) + gc.get_count()[0], 1, 1)
            array = arena.empty(random.randrange(1, 5000), np.uint8)
            array[:] = mark % 251
            held.append((mark % 251, array))
            assert all((each == value).all() for value, each in held[:: random.randrange(1, 9)])
    finally:
        gc.set_threshold(*threshold)
    assert any(within)


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


def test_kernels_that_trapped_leave_the_stack_as_it_was(library):
    memory = library.memory
    for operation in library.operations:
        for name in library.names(operation)[:-1]:
            with pytest.raises(KernelError, match="trapped"):
                library.kernel(operation, name).function(0xFFFFFFF0)
    assert memory._stack.value(memory._store) == STACK
