"""Whether a kernel is right in this engine: it runs on known cases beside its twin before it may serve.

An engine can be wrong where the module is not: the baseline compiler of Node 20 miscomputes a relaxed dot product.
"""

from dataclasses import dataclass
from typing import Any

from ..config import Clock
from . import cases, memory
from .kernel import Kernel
from .library import Library

ROUNDS = 2  # random cases of each size
SIZES = (0, 1)  # real sizes (2) would take too long at the first use


@dataclass(frozen=True)
class Verdict:
    fault: str | None  # what it did otherwise than its twin
    seconds: float  # the fastest of its runs on cases of size 1; infinite where it did not get there
    twin_seconds: float


def examine(kernel: Kernel, twin: Kernel, clock: Clock, seed: int, known: Verdict | None = None) -> Verdict:
    """Never raises: a kernel that cannot be tried is not right. known: of the same kernel in the same engine, found right before: then a
    small case is enough.
    """
    if known is not None:
        fault = _fault(kernel, twin, seed, SIZES[0])
        return known if fault is None else Verdict(fault, float("inf"), float("inf"))
    timed, timed_twin = _Timed(kernel, clock), _Timed(twin, clock)
    for size in SIZES:
        timed.least = timed_twin.least = float("inf")
        for number in range(seed, seed + ROUNDS):
            if fault := _fault(timed, timed_twin, number, size):
                return Verdict(fault, float("inf"), float("inf"))
    return Verdict(None, timed.least, timed_twin.least)


def _fault(kernel: Any, twin: Any, number: int, size: int) -> str | None:
    try:
        fault = cases.fault(kernel, twin, number, size)
    except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
        fault = f"{type(error).__name__}: {error}"
    return f"case {number} of size {size}: {fault}" if fault else None


def self_test(pack: Any, clock: Clock | None = None, seed: int = 0) -> list[str]:
    """Every kernel of a pack (its ``manifest`` and ``files``) in a memory of its own: what is wrong. Of a host without one, nothing."""
    room = memory.current()
    if room is None:
        return []
    library, faults = Library(pack.manifest, pack.files, room), []
    for operation in library.operations:
        for name in library.names(operation)[:-1]:
            try:
                twin, kernel = library.kernel(operation, "reference"), library.kernel(operation, name)
            except Exception as error:  # noqa: BLE001
                faults.append(f"{operation} {name}: {error}")
                continue
            fault = examine(kernel, twin, clock or Clock(), seed).fault
            if fault:
                faults.append(f"{operation} {name}: {fault}")
    return faults


class _Timed:
    """A kernel that notes its fastest run, binding left out."""

    def __init__(self, kernel: Kernel, clock: Clock) -> None:
        self.operation, self.name = kernel.operation, kernel.name
        self.least = float("inf")
        self._kernel, self._clock = kernel, clock

    def bind(self, **values: Any) -> Any:
        return self._kernel.bind(**values)

    def __call__(self, **values: Any) -> None:
        call = self._kernel.bind(**values)
        call.prepare()
        start = self._clock.elapsed_ms()
        call()
        self.least = min(self.least, (self._clock.elapsed_ms() - start) / 1000)
