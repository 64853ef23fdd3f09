"""What an operation takes: its operands and numbers, packed as the struct that kernels read.

An operation is declared once, in ``wasm_kernels/FAMILY.toml``, in lines such as

    "in   rows    f32[n, dim]"     an array that is read; ``out`` is written, ``inout`` both, ``in?`` and ``out?`` may be None;
                                   ``scratch`` is room to work in: not a result, and given by the caller only where it likes
    "u32  dim"                     a number: u32, i32 or f32

The build makes the C struct and its checks of these lines, and puts them into the manifest; here they give the same struct in Python.
An operand is two u32, address and bytes; a number is 4 bytes; they follow each other as declared. Extents are ``Expression``s over the
u32 numbers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import KernelError, OperandError
from .expression import Expression, shared

DTYPES = {
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "i8": np.dtype("i1"),
    "u8": np.dtype("u1"),
    "i16": np.dtype("<i2"),
    "u16": np.dtype("<u2"),
    "i32": np.dtype("<i4"),
    "u32": np.dtype("<u4"),
    "i64": np.dtype("<i8"),
    "u64": np.dtype("<u8"),
}
_LINE = re.compile(r"(in|out|inout|scratch)(\?)?\s+(\w+)\s+(\w+)\[([^]]+)\]|(u32|i32|f32)\s+(\w+)")
_RANGES = {"u32": (0, 2**32 - 1), "i32": (-(2**31), 2**31 - 1)}

# What a kernel returns: 0, or -(kind | position << 8) where position counts the arguments, or the conditions.
SIZE, ALIGN, CONDITION, INDEX, VALUE, OVERLAP = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Operand:
    name: str
    mode: str  # "in", "out", "inout" or "scratch"
    optional: bool
    dtype: np.dtype
    extents: tuple[Expression, ...]
    offset: int  # of its address in the struct; its bytes are 4 further

    @property
    def sizes(self) -> set[str]:
        """The numbers that decide how long it is."""
        return set().union(*(extent.names for extent in self.extents))

    def needed(self, values: Mapping[str, int]) -> int:
        """Bytes that these numbers ask of it."""
        total = self.dtype.itemsize
        for extent in self.extents:
            total *= extent(values)
        return total

    def check(self, array: Any) -> None:
        """Raises OperandError unless it is an array of the right type that lies in one piece."""
        if array is None and self.optional:
            return
        if not isinstance(array, np.ndarray) or array.dtype != self.dtype:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else repr(array)[:80]
            raise OperandError(f"{self.name} is an array of {self.dtype}, not {found}")
        if not array.flags.c_contiguous:
            raise OperandError(f"{self.name} {array.shape} does not lie in one piece: np.ascontiguousarray makes it so")
        if self.mode != "in" and not array.flags.writeable:
            raise OperandError(f"{self.name} is written to, and this array cannot be")


@dataclass(frozen=True)
class Number:
    name: str
    kind: str  # "u32", "i32" or "f32"
    offset: int

    def check(self, value: Any) -> None:
        if self.kind == "f32":
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise OperandError(f"{self.name} is a number, not {value!r}")
            return
        low, high = _RANGES[self.kind]
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
            raise OperandError(f"{self.name} is a whole number in {low} ... {high}, not {value!r}")


class Operation:
    """One declared operation.

    name, family; operands and numbers in the order of the struct; size: of the struct, bytes; kernels: names of what implements it;
    shape: the numbers that make its shape class. Raises KernelError where the declaration cannot be read.
    """

    def __init__(
        self,
        name: str,
        family: str,
        args: Sequence[str],
        where: Sequence[str] = (),
        kernels: Sequence[str] = (),
        shape: Sequence[str] | None = None,
        doc: str = "",
    ) -> None:
        self.name = name
        self.family = family
        self.doc = doc
        self.lines = tuple(" ".join(line.split()) for line in args)
        self.kernels = tuple(kernels) or (name,)
        self.arguments: dict[str, Operand | Number] = {}
        offset = 0
        try:
            for line in self.lines:
                found = _LINE.fullmatch(line)
                if not found:
                    raise ValueError(f"{line!r} declares no argument")
                if found[7]:
                    argument: Operand | Number = Number(found[7], found[6], offset)
                    offset += 4
                else:
                    extents = tuple(shared(part) for part in found[5].split(","))
                    argument = Operand(found[3], found[1], bool(found[2]), DTYPES[found[4]], extents, offset)
                    offset += 8
                if argument.name in self.arguments:
                    raise ValueError(f"{argument.name} is declared twice")
                self.arguments[argument.name] = argument
            self.conditions = tuple(shared(text) for text in where)
            counts = {number.name for number in self.numbers if number.kind == "u32"}
            used = [expression for operand in self.operands for expression in operand.extents] + list(self.conditions)
            for expression in used:
                if expression.names - counts:
                    raise ValueError(f"{expression.text!r} uses {', '.join(sorted(expression.names - counts))}, which is no u32 argument")
            self.shape = tuple(number.name for number in self.numbers if number.kind == "u32") if shape is None else tuple(shape)
            if set(self.shape) - counts:
                raise ValueError(f"its shape names {sorted(set(self.shape) - counts)}, which are no u32 arguments")
        except (ValueError, KeyError) as error:
            raise KernelError(f"operation {name} of family {family} cannot be read: {error}") from None
        self.size = offset

    def __repr__(self) -> str:
        return f"<Operation {self.name}: {', '.join(self.lines)}>"

    @property
    def operands(self) -> list[Operand]:
        return [argument for argument in self.arguments.values() if isinstance(argument, Operand)]

    @cached_property
    def apart(self) -> list[tuple[str, str]]:
        """Pairs of operands that may not overlap: one is written, and the other holds whole numbers, of which some are indices.

        What was found to be in range must not change before it is used. u8 are never indices: pages may be copied within a pool.
        """
        wholes = {each.name for each in self.operands if each.dtype.kind in "iu" and each.dtype != np.uint8}
        written = {each.name for each in self.operands if each.mode != "in"}
        pairs = combinations([each.name for each in self.operands], 2)
        return [(x, y) for x, y in pairs if (x in wholes and y in written) or (y in wholes and x in written)]

    @property
    def numbers(self) -> list[Number]:
        return [argument for argument in self.arguments.values() if isinstance(argument, Number)]

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises OperandError, naming the first argument that is missing, unknown, of the wrong type or too small."""
        self.check_each(values)
        self.check_sizes(values)

    def check_each(self, values: Mapping[str, Any]) -> None:
        """The half of ``check`` that looks at one argument at a time."""
        for name, argument in self.arguments.items():
            if name not in values and not (isinstance(argument, Operand) and (argument.optional or argument.mode == "scratch")):
                raise OperandError(f"{self.name} lacks its argument {name} ({', '.join(self.lines)})")
        for name, value in values.items():
            if name not in self.arguments:
                raise OperandError(f"{self.name} has no argument {name!r}; it has {', '.join(self.arguments)}")
            try:
                self.arguments[name].check(value)
            except OperandError as error:
                raise OperandError(f"{self.name}: {error}") from None

    def check_sizes(self, values: Mapping[str, Any]) -> None:
        """The half of ``check`` that every kernel makes for itself."""
        for position, condition in enumerate(self.conditions):
            if not condition(values):
                raise self.error(-(CONDITION | position << 8), values)
        needed = {}
        for position, (name, argument) in enumerate(self.arguments.items()):
            array = values.get(name)
            if array is not None and isinstance(argument, Operand):
                needed[name] = argument.needed(values)
                if array.nbytes < needed[name]:
                    raise self.error(-(SIZE | position << 8), values)
        if self.apart:
            self._check_apart(values, needed)

    def _check_apart(self, values: Mapping[str, Any], needed: Mapping[str, int]) -> None:
        starts = {name: values[name].__array_interface__["data"][0] for name, size in needed.items() if size}
        for x, y in self.apart:
            if x in starts and y in starts and -needed[y] < starts[y] - starts[x] < needed[x]:
                raise self.error(-(OVERLAP | list(self.arguments).index(x) << 8), values)

    def error(self, status: int, values: Mapping[str, Any]) -> OperandError | KernelError:
        """What a kernel's status says, in words."""
        kind, position = -status & 0xFF, -status >> 8
        sizes = ", ".join(f"{number.name} {values[number.name]}" for number in self.numbers)
        if kind == CONDITION and position < len(self.conditions):
            return OperandError(f"{self.name} needs {self.conditions[position].text}; given were {sizes}")
        if kind in (SIZE, ALIGN, INDEX, VALUE, OVERLAP) and position < len(self.arguments):
            argument = list(self.arguments.values())[position]
            value = values.get(argument.name)
            if kind == SIZE:
                needed = argument.needed(values)
                return OperandError(f"{self.name}: {argument.name} has {value.nbytes} bytes; {needed} are needed for {sizes}")
            if kind == ALIGN:
                return OperandError(f"{self.name}: {argument.name} does not start at a multiple of {argument.dtype.itemsize} bytes")
            if kind == INDEX:
                return OperandError(f"{self.name}: {argument.name} holds an index that is out of range for {sizes}; nothing more was done")
            if kind == OVERLAP:
                return OperandError(f"{self.name}: {argument.name} overlaps another operand, and one of them is written")
            return OperandError(f"{self.name}: {argument.name} holds a value that cannot be; given were {sizes}")
        return KernelError(f"{self.name} gave status {status}, which this version does not know")
