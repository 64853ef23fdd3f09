"""Operations by name, each served by the fastest kernel that is right here, as measured here."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..config import Clock
from ..errors import KernelError, OperandError
from . import memory as memories
from . import report, selftest
from .chosen import ChosenKernel
from .kernel import Call, Kernel
from .library import Library, once, twins
from .memory import KernelMemory
from .operation import Operation
from .place import Place, repeatable
from .selector import Selector
from .shelf import MemoryShelf
from .stopwatch import Stopwatch
from .store import PackStore

log = logging.getLogger("pyruvllm")

REFERENCE = "reference"  # the twin in numpy
COMPETITIVE = 4.0  # the twin is tried where its self-test took no more than this, in times of the fastest compiled kernel's
SETTLE_MS = 50.0  # that binding may spend on measuring
COPIED = 1 << 20  # bytes that binding may copy for it
SAMPLES = 4  # of each kernel that may be recorded, the one that warms it up among them


class KernelRegistry:
    """library: of the pack that serves; without one the twins serve, of the operations that this installation declares.

    clock: for latencies and "since"; seed: of the self-tests. ``refused``: packs that are not used, (place, why), to be witnessed.
    Not for several threads at once.
    """

    def __init__(
        self,
        library: Library | None = None,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        refused: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.library = library or twins()
        self.memory = self.library.memory
        self.refused = list(refused)
        self._clock = clock or Clock()
        self._watch = Stopwatch(self._clock)
        self._seed = seed
        self._shapes: dict[str, tuple[str, ...]] = {name: each.shape for name, each in self.operations.items()}
        self._places: dict[tuple, Place] = {}
        self._asleep: dict[tuple, Place] = {}  # restored and not used since
        self._kernels: dict[tuple[str, str], Kernel] = {}
        self._verdicts: dict[tuple[str, str], selftest.Verdict] = {}
        self._before: dict[tuple[str, str], selftest.Verdict] = {}  # found right in this engine at an earlier start

    @classmethod
    async def open(
        cls, store: PackStore | None = None, memory: KernelMemory | None = None, *, clock: Clock | None = None, seed: int = 0
    ) -> "KernelRegistry":
        """With the newest pack that can be trusted: of the store, else the bundled one. The twins serve where all are refused.

        KernelError where this installation declares no operations.
        """
        memory = memory or memories.current()
        if memory is None:
            once("no compiled kernels here, numpy serves, slower: pip install 'pyruvllm[native]'")
            return cls(clock=clock, seed=seed)
        loaded = await (store or PackStore(MemoryShelf())).load(lambda pack: None)  # each kernel is tested before its first use
        library = None if loaded.pack is None else Library(loaded.pack.manifest, loaded.pack.files, memory)
        return cls(library or twins(memory), clock=clock, seed=seed, refused=loaded.refused)

    @property
    def operations(self) -> Mapping[str, Operation]:
        return self.library.operations

    @property
    def pack(self) -> str:
        """Which kernels these are: name, version, and a digest of modules and operations."""
        manifest = self.library.manifest
        operations = sorted((each.name, each.lines, each.kernels, each.shape) for each in self.operations.values())
        content = [sorted(each.sha256 for each in manifest.modules), operations]
        return f"{manifest.name} {manifest.version} {hashlib.sha256(repr(content).encode()).hexdigest()[:12]}"

    @property
    def engine(self) -> str:
        """What runs them; latencies of another engine do not count."""
        if self.memory is None:
            return f"numpy {np.__version__}"
        return f"{self.memory.engine} with {' '.join(sorted(self.memory.features)) or 'no extensions'}"

    @property
    def changes(self) -> int:
        """Grows with every decision: ``statistics`` differ then in more than counts."""
        return sum(place.selector.changes for place in self._places.values())

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray:
        """An array that the kernels can see in place. MemoryError."""
        return np.empty(shape, dtype) if self.memory is None else self.memory.empty(shape, dtype)

    def select(self, operation: str, /, **numbers: int) -> Kernel:
        """The kernel to use now for an operation with these numbers; of them only those count that make the shape class.

        What serves, but for a bounded share of times, when it is one that is being tried: time it then, and tell ``record_performance``.
        KernelError for an operation that is not there, OperandError for a number that is missing.
        """
        try:
            place = self._places[(operation, *[(numbers[name] - 1).bit_length() for name in self._shapes[operation]])]
        except (KeyError, TypeError, AttributeError):
            place = self.place(operation, numbers)
        if place.selector.rest:
            place.selector.rest -= 1
            return place.kernel
        return self._turn(place)

    def best(self, operation: str, /, **numbers: int) -> Kernel:
        """What serves as far as known, for who keeps it: nothing is tried."""
        return self._serving(self.place(operation, numbers))

    def run(self, operation: str, /, **values: Any) -> None:
        """One call of the kernel that ``select`` gives, timed and recorded while there is something to find out. What kernels raise."""
        try:
            place = self._places[(operation, *[(values[name] - 1).bit_length() for name in self._shapes[operation]])]
        except (KeyError, TypeError, AttributeError):
            place = self.place(operation, values)
        if place.selector.rest:
            place.selector.rest -= 1
            kernel = place.kernel
            try:
                kernel(**values)
            except OperandError:
                raise
            except KernelError as error:
                self.stand_in(place, kernel, error, values)
        else:
            self.attempt(place, values)

    def kernel(self, operation: str, /) -> ChosenKernel:
        """One that does each of its calls by the kernel that is best by then. KernelError."""
        return ChosenKernel(self, self._declared(operation))

    def bind(self, operation: str, /, **values: Any) -> Call:
        """A call of the one kernel that is the fastest, to be kept or recorded. Where nothing was decided for this shape class, it is
        measured here, on copies of what it writes, for at most some 50 ms.
        """
        return self._serving(self._settled(operation, values)).bind(**values)

    def recorded(self, operation: str, /, **values: Any) -> Kernel:
        """The fastest compiled kernel, to be recorded: replayed it costs no crossing, which is all that a twin in numpy may win by.
        The twin where nothing compiled is right. Measured as ``bind`` does, once, where there is a choice of the variant that needs most of
        the engine: that one is no slower than the next, which is compiled and tested only where it is wrong.
        """
        place = self.place(operation, values)
        place.operation.check(values)
        compiled: list[str] = []
        for _, names in groupby(self.library.names(operation)[:-1], lambda name: name.split(".")[1]):
            compiled = compiled or [name for name in names if self._objection(operation, name) is None]
        if len(compiled) > 1 and not place.compared and not all(place.selector.tallies[name].recent for name in compiled):
            place.compared = True
            self._settle(place, values, compiled)
        return self._kernel(operation, min(compiled, key=place.selector.latency)) if compiled else self._serving(place)

    def _settled(self, operation: str, values: Mapping[str, Any]) -> "Place":
        place = self.place(operation, values)
        place.operation.check(values)
        if place.selector.serves is None:
            for name in place.selector.tallies:
                self._objection(operation, name)  # self-tests have to be, they are not part of the measuring
            self._settle(place, values)
        return place

    def record_performance(self, operation: str, kernel: str, shape_class: str, seconds: float) -> None:
        """That one run of a kernel took so long. ``shape_class`` as ``shape_class`` gives it. KernelError."""
        place = self.place(operation, report.numbers_of(shape_class))
        place.selector.record(kernel, seconds, span=self._watch.scattered)
        self._serving(place)

    def shape_class(self, operation: str, /, **numbers: int) -> str:
        """Sizes in powers of two: "n=64 dim=1024" holds n of 33 to 64 and dim of 513 to 1024."""
        return self._made(operation, numbers)[1].label

    def explain(self, operation: str | None = None, /, **numbers: int) -> str:
        """For a person: which kernel serves what, since when, how long each took and why others do not serve."""
        if operation is not None and numbers:
            return report.of_place(self._made(operation, numbers)[1], self.library)
        names = list(self.operations) if operation is None else [self._declared(operation).name]
        return "\n".join(report.of_operation(name, self._of(name), self.library) for name in names)

    def status(self) -> dict[str, Any]:
        """The same as JSON, for a page."""
        manifest = self.library.manifest
        return {
            "memory": None if self.memory is None else self.memory.name,
            "engine": self.engine,
            "features": [] if self.memory is None else sorted(self.memory.features),
            "pack": {"name": manifest.name, "version": manifest.version, "modules": len(manifest.modules)},
            "refused": [{"place": place, "why": why} for place, why in self.refused],
            "operations": {name: report.status_of(self.operations[name], self._of(name)) for name in self.operations},
            "banned": [
                {"operation": operation, "kernel": name, "why": verdict.fault}
                for (operation, name), verdict in self._verdicts.items()
                if verdict.fault
            ],
        }

    def statistics(self) -> dict[str, Any]:
        """All that was measured, as JSON; ``restore`` makes the same again, to the bit."""
        found: dict[str, Any] = {}
        for place in [*self._places.values(), *self._asleep.values()]:
            found.setdefault(place.operation.name, {})[place.label] = place.selector.state()
        return found

    def tested(self) -> dict[str, Any]:
        """Kernels that were found right, as JSON: seconds of their self-test and of their twin's."""
        found: dict[str, Any] = {}
        for (operation, name), verdict in {**self._before, **self._verdicts}.items():
            if verdict.fault is None:
                found.setdefault(operation, {})[name] = [verdict.seconds, verdict.twin_seconds]
        return found

    def retest(self, tested: Mapping[str, Any]) -> None:
        """These were found right with the same pack in the same engine: a short self-test is enough for them. KernelError."""
        try:
            found = {(op, name): tuple(map(float, pair)) for op, each in tested.items() for name, pair in each.items()}
            self._before = {key: selftest.Verdict(None, *pair) for key, pair in found.items() if min(pair) >= 0}
        except (AttributeError, TypeError, ValueError) as error:
            raise KernelError(f"these are no self-tests of kernels: {error!r}") from None

    def restore(self, statistics: Mapping[str, Any]) -> None:
        """Takes up what was measured with the same pack in the same engine. Self-tests are made anew. KernelError: nothing changed."""
        places = {}
        try:
            for operation, classes in statistics.items():
                for label, state in classes.items():
                    key, place = self._made(operation, report.numbers_of(label), anew=True)
                    place.selector.restore(state)
                    places[key] = place
        except (AttributeError, OperandError) as error:
            raise KernelError(f"these are no statistics of kernels: {error}") from None
        self._asleep.update({key: place for key, place in places.items() if key not in self._places})

    def _declared(self, operation: str) -> Operation:
        if operation not in self.operations:
            raise KernelError(f"no operation {operation!r}; there are {', '.join(sorted(self.operations))}")
        return self.operations[operation]

    def _of(self, operation: str) -> list["Place"]:
        return [place for places in (self._places, self._asleep) for key, place in places.items() if key[0] == operation]

    def place(self, operation: str, numbers: Mapping[str, Any]) -> "Place":
        """Of the shape class of these numbers. What serves there is known to be right. KernelError, OperandError."""
        key, place = self._made(operation, numbers)
        if key not in self._places:
            self._asleep.pop(key, None)
            self._places[key] = place
            self._serving(place)
        return place

    def _made(self, operation: str, numbers: Mapping[str, Any], anew: bool = False) -> tuple[tuple, "Place"]:
        declared = self._declared(operation)
        bits = []
        for name in declared.shape:
            value = numbers.get(name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise OperandError(f"{operation} needs the number {name} for its shape class, not {value!r}")
            bits.append((int(value) - 1).bit_length())  # 0 is with 2
        key = (operation, *bits)
        if not anew and (found := self._places.get(key) or self._asleep.get(key)):
            return key, found
        label = " ".join(f"{name}={1 << bit}" for name, bit in zip(declared.shape, bits, strict=True))
        return key, Place(declared, label, Selector(self.library.names(operation), self._clock.now_ms))

    def _turn(self, place: "Place") -> Kernel:
        """The kernel to try now; it was found right."""
        place.selector.turn()
        while True:
            name = place.selector.next()
            why = None if name in place.selector.excluded else self._objection(place.operation.name, name)
            if why is None:
                self._serving(place)
                return self._kernel(place.operation.name, name)
            place.selector.exclude(name, why)

    def _serving(self, place: "Place") -> Kernel:
        """What serves now; it was found right."""
        while True:
            name = place.selector.best
            why = None if name in place.selector.excluded else self._objection(place.operation.name, name)
            if why is None or name == REFERENCE:
                place.kernel = self._kernel(place.operation.name, name)
                return place.kernel
            place.selector.exclude(name, why)

    def _kernel(self, operation: str, name: str) -> Kernel:
        if (operation, name) not in self._kernels:
            self._kernels[operation, name] = self.library.kernel(operation, name)
        return self._kernels[operation, name]

    def _objection(self, operation: str, name: str) -> str | None:
        """Why a kernel may not be chosen."""
        if name != REFERENCE:
            fault = self._verdict(operation, name).fault
            return None if fault is None else f"banned: {fault}"
        tested = [self._verdict(operation, each) for each in self.library.names(operation)[:-1]]
        right = [verdict for verdict in tested if verdict.fault is None]
        if not right:
            return None
        seconds, own = min(each.seconds for each in right), min(each.twin_seconds for each in right)
        if seconds and own <= COMPETITIVE * seconds:
            return None
        return f"left out: its self-test took {own / seconds:.0f} x the time" if seconds else "left out: compiled kernels are right here"

    def _verdict(self, operation: str, name: str) -> selftest.Verdict:
        if (operation, name) not in self._verdicts:
            try:
                kernel, twin = self._kernel(operation, name), self._kernel(operation, REFERENCE)
            except KernelError as error:
                verdict = selftest.Verdict(str(error), float("inf"), float("inf"))
            else:
                verdict = selftest.examine(kernel, twin, self._clock, self._seed, self._before.get((operation, name)))
            self._verdicts[operation, name] = verdict
            if verdict.fault:
                self._ban(operation, name, verdict.fault)
        return self._verdicts[operation, name]

    def _ban(self, operation: str, name: str, fault: str) -> None:
        self._verdicts[operation, name] = selftest.Verdict(fault, float("inf"), float("inf"))
        log.warning("the kernel %s of %s is banned until the next start: %s", name, operation, fault)
        for key, place in self._places.items():
            if key[0] == operation:
                place.selector.exclude(name, f"banned: {fault}")
                self._serving(place)

    def attempt(self, place: "Place", values: Mapping[str, Any], bound: Callable[[Kernel], Call] | None = None) -> None:
        """One turn: the kernel to try does the work, and is timed. ``bound`` gives a call of a kernel with these values."""
        self._timed(place, self._turn(place), values, bound)

    def _timed(self, place: "Place", kernel: Kernel, values: Mapping[str, Any], bound: Callable[[Kernel], Call] | None = None) -> None:
        call = bound(kernel) if bound else kernel.bind(**values)
        try:
            call.prepare()
            if getattr(call, "staged", False):  # what it takes to copy arrays says nothing about the kernel
                call()
                return
            again = repeatable(place.operation, values)
            seconds, runs = self._watch.time(call, again)
        except OperandError:
            raise
        except KernelError as error:
            self.stand_in(place, kernel, error, values)
            return
        place.selector.record(kernel.name, seconds, runs, self._watch.together if again else self._watch.scattered)
        self._serving(place)

    def stand_in(self, place: "Place", kernel: Kernel, error: KernelError, values: Mapping[str, Any]) -> None:
        """A kernel that failed for no fault of the arguments: another does the work, where nothing that it reads was written."""
        if kernel.name == REFERENCE:
            raise error
        self._ban(place.operation.name, kernel.name, str(error))
        if not repeatable(place.operation, values):
            raise error
        self._serving(place)(**values)

    def _settle(self, place: "Place", values: Mapping[str, Any], among: Sequence[str] = ()) -> None:
        """Tries the candidates in turn on the same arguments until it is decided, or ``among`` some, each a few times. What they write is
        thrown away.
        """
        mine = dict(values)
        given = [(operand, values[operand.name]) for operand in place.operation.operands if values.get(operand.name) is not None]
        copied = [(each.name, array) for each, array in given if each.mode in ("out", "inout") or each.mode == "in" and self._far(array)]
        if sum(array.nbytes for _, array in copied) > COPIED:
            return
        for name, array in copied:
            mine[name] = self.empty(array.shape, array.dtype)
            mine[name][...] = array
        end = self._clock.elapsed_ms() + SETTLE_MS
        kernels = [self._kernel(place.operation.name, name) for name in among] * SAMPLES
        try:
            for kernel in kernels or iter(lambda: self._turn(place), None):
                self._timed(place, kernel, mine)
                if place.selector.serves is not None or self._clock.elapsed_ms() >= end:
                    return
        except (KernelError, MemoryError):  # its arguments may have no meaning yet
            pass

    def _far(self, array: np.ndarray) -> bool:
        return self.memory is not None and self.memory.address(array) is None
