"""Arguments to try operations with: one module a family, one function an operation that makes them at random.

    @case(rtol=1e-5, atol=1e-6)
    def dot(rng, size):                 # size 0 is a few numbers, 1 some hundred, 2 what real use has
        return {"query": ..., "rows": ..., "scores": np.empty(...), "n": ..., "dim": ...}

The self-test of a kernel runs it at sizes 0 and 1 and compares with its twin; so do the tests, in more rounds and also at size 2.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from ..kernel import Kernel
from ..operation import Operation

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """make: (generator, size) to arguments. A result may differ from the twin's by atol + rtol x |twin's|; whole numbers by nothing.

    same: where that is not what being right means, (arguments of the twin after it ran, those of the kernel) to what is wrong, or None.
    """

    make: Callable[[np.random.Generator, int], Arguments]
    rtol: float
    atol: float
    same: Callable[[Arguments, Arguments], str | None] | None

    def __call__(self, rng: np.random.Generator, size: int) -> Arguments:
        return self.make(rng, size)


def case(rtol: float = 0.0, atol: float = 0.0, same: Callable[[Arguments, Arguments], str | None] | None = None) -> Callable[..., Case]:
    return lambda make: Case(make, rtol, atol, same)


def of(operation: Operation) -> Case:
    return getattr(import_module(f"{__name__}.{operation.family}"), operation.name)


def made(tried: Case, seed: int, size: int) -> Arguments:
    """The arguments of one random case, not to be written to. They are kept: making a graph takes longer than trying a kernel."""
    return (_small if size < 2 else _large)(tried, seed, size)


def _made(tried: Case, seed: int, size: int) -> Arguments:
    return tried(np.random.default_rng(seed), size)


_small = lru_cache(maxsize=32)(_made)  # four for each variant of an operation, which are tried one after the other
_large = lru_cache(maxsize=1)(_made)


def fault(kernel: Kernel, twin: Kernel, seed: int, size: int) -> str | None:
    """What a kernel does otherwise than its twin on one random case, in words; None where they agree."""
    tried = of(kernel.operation)
    expected, found = (copy.deepcopy(made(tried, seed, size)) for _ in range(2))
    twin(**expected)
    kernel(**found)
    if tried.same:
        return tried.same(expected, found)
    for operand in kernel.operation.operands:
        if operand.mode not in ("out", "inout") or expected.get(operand.name) is None:
            continue
        want, got = expected[operand.name], found[operand.name]
        with np.errstate(invalid="ignore"):
            limit = tried.atol + tried.rtol * np.abs(want.astype(np.float64)) if want.dtype.kind == "f" else 0
            wrong = ~((np.abs(got.astype(np.float64) - want.astype(np.float64)) <= limit) | (got == want) | ((got != got) & (want != want)))
        if wrong.any():
            at = np.unravel_index(int(wrong.argmax()), wrong.shape)
            place = ", ".join(map(str, at))
            return f"{operand.name}[{place}] is {got[at]!r}, the twin has {want[at]!r}; {int(wrong.sum())} of {wrong.size} differ"
    return None
