"""An implementation of an operation, and a call of it whose arguments are packed once and changed in place."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from ..errors import OperandError
from .memory import Function, KernelMemory
from .operation import Number, Operand, Operation

_PACK = {"u32": struct.Struct("<I"), "i32": struct.Struct("<i"), "f32": struct.Struct("<f")}
_SPAN = struct.Struct("<II")


class Call(Protocol):
    """One call of a kernel. Arrays are looked at when it runs, so that what they hold may change between two runs."""

    kernel: Kernel
    values: dict[str, Any]
    placed: int  # how often an operand was put elsewhere

    def set(self, **changes: Any) -> None:
        """Gives other arguments. Raises OperandError, and then nothing changed."""

    def prepare(self) -> None:
        """Makes the room to work in that its arguments ask for; running does it too. Raises OperandError, MemoryError."""

    def __call__(self) -> None:
        """Runs it. Raises OperandError where sizes do not fit each other."""


class Kernel(Protocol):
    operation: Operation
    name: str  # of the kernel and the variant of its module: "matmul_tiled.relaxed"; "reference" for the twin in numpy

    def bind(self, **values: Any) -> Call: ...

    def __call__(self, **values: Any) -> None:
        """Binds and runs once."""


class ReferenceKernel:
    """The twin in numpy, which is the operation's specification."""

    name = "reference"

    def __init__(self, operation: Operation, twin: Callable[..., None]) -> None:
        self.operation = operation
        self._twin = twin

    def bind(self, **values: Any) -> ReferenceCall:
        return ReferenceCall(self, values)

    def __call__(self, **values: Any) -> None:
        self.bind(**values)()


class ReferenceCall:
    def __init__(self, kernel: ReferenceKernel, values: Mapping[str, Any]) -> None:
        self.kernel = kernel
        kernel.operation.check_each(values)
        self.values = dict(values)
        self.placed = 0
        self._scratch = {operand.name for operand in kernel.operation.operands if operand.mode == "scratch"}
        self._absent = {operand.name: None for operand in kernel.operation.operands if operand.optional}

    def set(self, **changes: Any) -> None:
        self.kernel.operation.check_each({**self.values, **changes})
        self.values.update(changes)

    def prepare(self) -> None:
        pass

    def __call__(self) -> None:
        self.kernel.operation.check_sizes(self.values)
        given = {name: value for name, value in self.values.items() if name not in self._scratch}
        self.kernel._twin(**{**self._absent, **given})


class CompiledKernel:
    def __init__(self, operation: Operation, name: str, memory: KernelMemory, function: Function) -> None:
        self.operation = operation
        self.name = name
        self.memory = memory
        self.function = function

    def bind(self, **values: Any) -> CompiledCall:
        return CompiledCall(self, values)

    def __call__(self, **values: Any) -> None:
        self.bind(**values)()


class CompiledCall:
    """The struct lies in the kernels' memory. Arrays that do not are copied there before each run, and back after it."""

    def __init__(self, kernel: CompiledKernel, values: Mapping[str, Any]) -> None:
        self.kernel = kernel
        operation, memory = kernel.operation, kernel.memory
        operation.check_each(values)
        self.values: dict[str, Any] = {}
        self.placed = 0
        self.struct = memory.empty(operation.size, np.uint8)
        self.struct[:] = 0
        self.address = memory.address(self.struct)
        self._run = kernel.function
        self._copies: dict[str, np.ndarray] = {}
        self._scratch = [operand for operand in operation.operands if operand.mode == "scratch" and operand.name not in values]
        self._rooms = {name for operand in self._scratch for name in (operand.name, *operand.sizes)}  # what decides how large they are
        self._prepared = not self._scratch
        self.set(**values)

    @property
    def staged(self) -> bool:
        """Whether arrays are copied at every run."""
        return bool(self._copies)

    def set(self, **changes: Any) -> None:
        operation = self.kernel.operation
        for name, value in changes.items():
            if name not in operation.arguments:
                raise OperandError(f"{operation.name} has no argument {name!r}; it has {', '.join(operation.arguments)}")
            operation.arguments[name].check(value)
        for name, value in changes.items():
            argument = operation.arguments[name]
            if isinstance(argument, Number):
                _PACK[argument.kind].pack_into(self.struct, argument.offset, value)
            else:
                self._place(argument, value)
            self.values[name] = value
            self._prepared = self._prepared and name not in self._rooms

    def prepare(self) -> None:
        if self._prepared:
            return
        short = [operand for operand in self._scratch if self._room(operand) < operand.needed(self.values)]
        if short:
            rooms = {operand.name for operand in self._scratch}
            rest = {name: value for name, value in self.values.items() if name not in rooms}
            self.kernel.operation.check_sizes(rest)  # so that no nonsense is asked of the memory
        for operand in short:
            room = self.kernel.memory.empty(-(-operand.needed(self.values) // operand.dtype.itemsize), operand.dtype)
            self._place(operand, room)
            self.values[operand.name] = room
        self._prepared = True

    def _room(self, operand: Operand) -> int:
        return self.values[operand.name].nbytes if operand.name in self.values else -1

    def _place(self, operand: Operand, array: np.ndarray | None) -> None:
        self._copies.pop(operand.name, None)
        self.placed += 1
        if array is None:
            _SPAN.pack_into(self.struct, operand.offset, 0, 0)
            return
        address = self.kernel.memory.address(array)
        if address is None:
            copy = self.kernel.memory.empty(array.shape, array.dtype)
            self._copies[operand.name] = copy
            address = self.kernel.memory.address(copy)
        _SPAN.pack_into(self.struct, operand.offset, address, array.nbytes)

    def __call__(self) -> None:
        if not self._prepared:
            self.prepare()
        for name, copy in self._copies.items():
            copy[...] = self.values[name]
        status = self._run(self.address)
        if status:
            raise self.kernel.operation.error(status, self.values)
        for name, copy in self._copies.items():
            if self.kernel.operation.arguments[name].mode in ("out", "inout"):
                self.values[name][...] = copy
