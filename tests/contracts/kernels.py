"""What every kernel promises: what its twin in numpy gives, within the stated tolerance, and a refusal where arguments do not fit."""

import copy
import sys
from functools import cache, lru_cache

import numpy as np
import pytest

from pyruvllm.errors import OperandError
from pyruvllm.kernels import cases, manifest, memory
from pyruvllm.kernels.library import Library
from pyruvllm.kernels.pack import bundled

SEEDS = range(3 if sys.platform != "emscripten" else 1)  # the twins are slow in Pyodide
ROUNDS = [*((size, seed) for size in (0, 1) for seed in SEEDS), (2, 0)]


@cache
def library() -> Library:
    """The bundled kernels in this host's memory, one for all tests."""
    files = bundled()
    return Library(manifest.read(files[manifest.FILE]), files, memory.current())


@lru_cache(maxsize=2 * len(ROUNDS))  # the kernels of one operation come one after the other
def twin(operation: str, seed: int, size: int):
    """What the twin does in this case, which it is asked once however many kernels are compared with it."""
    reference, kept = library().kernel(operation, "reference"), {}

    def run(**values):
        if not kept:
            reference(**values)
            kept.update(copy.deepcopy({name: value for name, value in values.items() if isinstance(value, np.ndarray)}))
        for name, value in kept.items():
            values[name][...] = value

    return run


def kernels() -> list[tuple[str, str]]:
    """(operation, kernel) of all that this host can run."""
    return [(operation, name) for operation in library().operations for name in library().names(operation)]


def some(kernel) -> dict:
    """Arguments of middle size, to be written to."""
    return copy.deepcopy(cases.made(cases.of(kernel.operation), 0, 1))


def snapshot(values: dict) -> dict:
    return {name: value.tobytes() for name, value in values.items() if isinstance(value, np.ndarray)}


each_kernel = pytest.mark.parametrize(("operation", "name"), kernels())
each_compiled = pytest.mark.parametrize(("operation", "name"), [each for each in kernels() if each[1] != "reference"])


class KernelContract:
    @each_compiled
    def test_gives_what_its_twin_gives(self, operation, name):
        for size, seed in ROUNDS:
            fault = cases.fault(library().kernel(operation, name), twin(operation, seed, size), seed, size)
            assert fault is None, f"size {size}, seed {seed}: {fault}"

    @each_kernel
    def test_arrays_that_are_only_read_stay_as_they_are(self, operation, name):
        kernel = library().kernel(operation, name)
        values = some(kernel)
        read = {each.name for each in kernel.operation.operands if each.mode == "in"}
        before = snapshot({key: value for key, value in values.items() if key in read})
        kernel(**values)
        assert snapshot({key: value for key, value in values.items() if key in read}) == before

    @each_kernel
    def test_an_operand_that_is_too_small_is_refused_and_nothing_is_written(self, operation, name):
        """One element less than the kernel says it needs, in each operand in turn; past its end lies memory that has to stay as it is."""
        kernel = library().kernel(operation, name)
        values = some(kernel)
        for operand in kernel.operation.operands:
            if values.get(operand.name) is None:
                continue
            count = operand.needed(values) // operand.dtype.itemsize
            if not count:
                continue
            flat = values[operand.name].reshape(-1)
            before = snapshot(values)
            with pytest.raises(OperandError, match=rf"\b{operand.name}\b"):
                kernel(**{**values, operand.name: flat[: count - 1]})
            assert snapshot(values) == before

    @each_kernel
    def test_numbers_of_any_size_are_refused_or_done_within_the_operands(self, operation, name):
        """Each u32 in turn made huge: the sizes no longer fit, or the number did not matter."""
        kernel = library().kernel(operation, name)
        made = some(kernel)
        for number in kernel.operation.numbers:
            if number.kind != "u32" or not uses(kernel.operation, number.name):
                continue
            for value in (2**31, 2**32 - 1):
                values = {**made, number.name: value}
                with pytest.raises(OperandError):
                    kernel.operation.check_sizes(values)
                with pytest.raises(OperandError):
                    kernel(**values)

    def test_wrong_arrays_are_named(self):
        kernel = library().kernel("widen", library().names("widen")[0])
        x, y = np.zeros(8, np.float16), np.zeros(8, np.float32)
        for wrong, words in (
            ({"x": np.zeros(8, np.float32)}, "x is an array of float16"),
            ({"x": np.zeros(16, np.float16)[::2]}, "does not lie in one piece"),
            ({"x": None}, "x is an array"),
            ({"n": -1}, "n is a whole number"),
            ({"n": 2.0}, "n is a whole number"),
            ({"z": 1}, "no argument 'z'"),
            ({"y": np.frombuffer(bytes(32), np.float32)}, "cannot be"),
        ):
            with pytest.raises(OperandError, match=words):
                kernel(**{"x": x, "y": y, "n": 8, **wrong})
        with pytest.raises(OperandError, match="lacks its argument n"):
            kernel(x=x, y=y)

    def test_a_bound_call_sees_what_its_arrays_hold_when_it_runs(self):
        x, y = library().memory.empty(4, np.float16), library().memory.empty(4, np.float32)
        x[:], y[:] = 1, 0
        call = library().kernel("widen", library().names("widen")[0]).bind(x=x, y=y, n=4)
        call()
        x[:] = 2
        call.set(n=2)
        call()
        assert y.tolist() == [2, 2, 1, 1]
        with pytest.raises(OperandError):
            call.set(n=1, x=np.zeros(1))
        call()
        assert y.tolist() == [2, 2, 1, 1]


def uses(operation, name: str) -> bool:
    """Whether a number decides how large an operand that is always there has to be."""
    needed = [each for each in operation.operands if not each.optional and each.mode != "scratch"]
    return any(name in extent.names for each in needed for extent in each.extents)
