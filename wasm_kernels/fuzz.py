"""Calls every kernel with arguments that nobody should give it, and looks at what it did to the memory around them.

    python -m wasm_kernels.fuzz [FAMILY ...] [--rounds N] [--seed N]

Operands lie in one block at the very end of a memory, in any order, with noise between them; the struct of the arguments is among them.
A kernel has to leave all but what it may write as it was, to end within an amount of work, without a trap, and to give the same results
whatever the noise is: a read beyond an operand would show.
"""

import argparse
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import wasmtime as wt

from pyruvllm.errors import KernelError
from pyruvllm.kernels import cases, manifest
from pyruvllm.kernels.arena import PAGE, STACK, Arena
from pyruvllm.kernels.kernel import CompiledKernel
from pyruvllm.kernels.library import Library
from pyruvllm.kernels.operation import ALIGN, CONDITION, OVERLAP, SIZE, Number, Operand, Operation

from . import build, declare

ROOM = 16 * PAGE
FUEL = 1_000_000_000  # instructions that one call may take; as much as the block has room for needs a third of it
TRUSTED = {"replay"}  # its tables say what memory is the caller's: tests/contracts/commands.py attacks what it does not trust
FLOATS = [0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-40, 1e-30, 65504, 1e6]
WHOLES = [-1, 0, 1, 2, -(2**31), 2**31 - 1, 2**30]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 255, 256, 1000, 2**30, 2**31 - 1, 2**31, 2**32 - 256, 2**32 - 16, 2**32 - 4, 2**32 - 1]


class Pen(Arena):
    """A memory that ends with the operands, and that stops a kernel which works too long."""

    def __init__(self) -> None:
        super().__init__(256 << 20)
        self.start = 0

    @classmethod
    def _config(cls) -> wt.Config:
        config = super()._config()
        config.consume_fuel = True
        return config

    def load(self, module: bytes, name: str) -> Any:
        self._store.set_fuel(FUEL)
        return super().load(module, name)

    def close(self) -> None:
        """Adds the block, and nothing after it."""
        self.start = self._memory.data_len(self._store)
        self._memory.grow(self._store, ROOM // PAGE)
        self.static = self._bytes(STACK, self.start - STACK)  # what modules keep
        self.block = self._bytes(self.start, ROOM)

    def _bytes(self, start: int, size: int) -> np.ndarray:
        return np.frombuffer((ctypes.c_uint8 * size).from_address(self._origin + start), np.uint8)

    def run(self, kernel: CompiledKernel, address: int) -> int:
        self._store.set_fuel(FUEL)
        return kernel.function(address)


class Trial:
    """Mutated arguments of one call: numbers, operands' bytes and where they lie in the block (None: absent)."""

    def __init__(self, operation: Operation, base: cases.Arguments, rng: np.random.Generator) -> None:
        self.operation = operation
        self.rng = rng
        self.numbers = self._numbers(base)
        self.content: dict[str, np.ndarray | None] = {}
        self.cut: str | None = None
        for operand in operation.operands:
            self.content[operand.name] = self._content(operand, base.get(operand.name))
        if rng.random() < 0.1:
            self._cut()
        self.at: dict[str, int] = {}
        self.fits = self._place()
        self.shared = self.fits and rng.random() < 0.2 and self._share()

    def _numbers(self, base: cases.Arguments) -> dict[str, Any]:
        rng, wild = self.rng, self.rng.choice([0.0, 0.1, 0.3, 0.8])
        values = {}
        for number in self.operation.numbers:
            value = base[number.name]
            if rng.random() < wild:
                if number.kind == "u32":
                    value = [0, int(rng.choice(COUNTS)), int(rng.integers(0, 2 * min(value, 2**20) + 2))][rng.integers(3)]
                elif number.kind == "i32":
                    value = int(rng.choice([*WHOLES, int(rng.integers(-10, 200))]))
                else:
                    value = float(rng.choice(FLOATS))
            values[number.name] = value
        return values

    def _content(self, operand: Operand, given: np.ndarray | None) -> np.ndarray | None:
        rng, dtype = self.rng, operand.dtype
        needed = operand.needed(self.numbers)
        if operand.optional and (rng.random() < 0.3 or (given is None and rng.random() < 0.5)):
            return None
        if needed > ROOM // 2:  # refused, then
            return np.zeros(0 if given is None else min(given.size, 64), dtype)
        count = needed // dtype.itemsize
        if given is None or not given.size:
            array = self._noise(count, dtype)
        else:
            array = np.resize(given.reshape(-1), count).astype(dtype)
        return self._changed(array) if operand.mode in ("in", "inout") and rng.random() < 0.4 else array

    def _noise(self, count: int, dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(self.rng.bytes(count * dtype.itemsize), dtype).copy()

    def _changed(self, array: np.ndarray) -> np.ndarray:
        """Some or all of it replaced: by what is special, by one value, by any bits."""
        rng, kind = self.rng, array.dtype.kind
        if kind == "f":
            with np.errstate(over="ignore"):
                other = rng.choice(FLOATS, array.size).astype(array.dtype)
        else:
            near = [value for value in self.numbers.values() if isinstance(value, int) and value < 2**31]
            top = max([4, *(value for value in near if value < 5000)])
            special = np.array([*WHOLES, *near, *(value - 1 for value in near)], np.int64)
            alike = np.full(array.size, rng.integers(0, top))
            other = [rng.choice(special, array.size), rng.integers(-1, top + 1, array.size), alike][rng.integers(3)].astype(array.dtype)
        if rng.random() < 0.25:
            other = self._noise(array.size, array.dtype)
        return np.where(rng.random(array.size) < rng.choice([0.02, 0.3, 1.0]), other, array)

    def _cut(self) -> None:
        there = [name for name, array in self.content.items() if array is not None and array.size]
        if there:
            self.cut = str(self.rng.choice(there))
            self.content[self.cut] = self.content[self.cut][: self.rng.integers(self.content[self.cut].size)]

    def _place(self) -> bool:
        """From the end of the block down. Whether there was room."""
        sizes = {name: (array.nbytes, array.dtype.itemsize) for name, array in self.content.items() if array is not None}
        sizes[""] = (self.operation.size, 4)
        end = ROOM
        for name in self.rng.permutation(list(sizes)):
            size, align = sizes[str(name)]
            self.at[str(name)] = (end - size) // align * align
            end = self.at[str(name)] - int(self.rng.integers(0, 80))
            if end < 4096:
                return False
        return True

    def _share(self) -> bool:
        """Puts an operand into another one."""
        there = [name for name in self.at if name and self.content[name].size]
        if len(there) < 2:
            return False
        outer, inner = sorted(map(str, self.rng.choice(there, 2, replace=False)), key=lambda name: -self.content[name].nbytes)
        align = max(self.content[outer].dtype.itemsize, self.content[inner].dtype.itemsize)
        spare = self.content[outer].nbytes - self.content[inner].nbytes
        start = self.at[outer] + int(self.rng.integers(spare // align + 1)) * align * int(self.rng.integers(2))
        if start % self.content[inner].dtype.itemsize:
            return False
        self.at[inner] = start
        return True

    def spans(self, *modes: str) -> Iterator[slice]:
        for operand in self.operation.operands:
            array = self.content[operand.name]
            if operand.mode in modes and array is not None:
                yield slice(self.at[operand.name], self.at[operand.name] + array.nbytes)

    def write(self, block: np.ndarray, start: int) -> None:
        for operand in self.operation.operands:
            array = self.content[operand.name]
            if operand.mode != "scratch" and array is not None:
                block[self.at[operand.name] :][: array.nbytes] = array.view(np.uint8)
        struct = np.zeros(self.operation.size, np.uint8)
        for argument in self.operation.arguments.values():
            if isinstance(argument, Number):
                dtype = {"u32": np.uint32, "i32": np.int32, "f32": np.float32}[argument.kind]
                with np.errstate(over="ignore"):
                    words = [dtype(self.numbers[argument.name])]
            elif self.content[argument.name] is None:
                continue
            else:
                words = [np.uint32(start + self.at[argument.name]), np.uint32(self.content[argument.name].nbytes)]
            struct[argument.offset :][: 4 * len(words)] = np.array(words).view(np.uint8)
        block[self.at[""] :][: struct.size] = struct

    def __str__(self) -> str:
        there = {name: array for name, array in self.content.items() if array is not None}
        arrays = {name: f"{array.dtype}[{array.size}] at {self.at.get(name)}" for name, array in there.items()}
        return f"{self.numbers} {arrays}{' shared' if self.shared else ''}"


class Fuzzer:
    """The kernels of one family, to be attacked."""

    def __init__(self, files: dict[str, bytes], family: str) -> None:
        self.pen = Pen()
        library = Library(manifest.read(files[manifest.FILE]), files, self.pen)
        self.kernels = [
            library.kernel(operation.name, name)
            for operation in library.operations.values()
            if operation.family == family and operation.name not in TRUSTED
            for name in library.names(operation.name)
            if name != "reference"
        ]
        self.pen.close()
        rng = np.random.default_rng(0)
        self.noise = [rng.integers(0, 256, ROOM, np.uint8) for _ in range(2)]
        self.expected, self.static = np.empty(ROOM, np.uint8), self.pen.static.copy()
        self._cases: dict[tuple[str, int], cases.Arguments] = {}

    def base(self, operation: Operation, number: int) -> cases.Arguments:
        """One of six cases that trials begin with."""
        if (operation.name, number) not in self._cases:
            self._cases[operation.name, number] = cases.of(operation)(np.random.default_rng(number), number % 3 % 2)
        return self._cases[operation.name, number]

    def faults(self, kernel: CompiledKernel, rounds: int, seed: int = 0) -> list[str]:
        found = []
        for number in range(rounds):
            rng = np.random.default_rng([seed, number])
            trial = Trial(kernel.operation, self.base(kernel.operation, int(rng.integers(6))), rng)
            if trial.fits and (fault := self.fault(kernel, trial)):
                found.append(f"{kernel.name}, seed {seed}, round {number}: {fault}; {trial}")
        return found

    def fault(self, kernel: CompiledKernel, trial: Trial) -> str | None:
        results, block, expected = [], self.pen.block, self.expected
        for noise in self.noise[: 1 if trial.shared else 2]:
            block[:] = noise
            trial.write(block, self.pen.start)
            expected[:] = block
            try:
                status = self.pen.run(kernel, self.pen.start + trial.at[""])
            except KernelError as error:
                return " ".join(str(error).split())[-120:]
            if fault := self._status(trial, status):
                return fault
            results.append((status, [block[span].tobytes() for span in trial.spans("out", "inout")]))
            if -status & 0xFF not in (SIZE, ALIGN, CONDITION, OVERLAP):
                for span in trial.spans("out", "inout", "scratch"):
                    expected[span] = block[span]
            if not np.array_equal(expected.view(np.uint64), block.view(np.uint64)):
                wrong = np.flatnonzero(expected != block)
                return f"it gave {status} and wrote {wrong.size} bytes beside its operands, from {wrong[0]} of {ROOM} on"
            if not np.array_equal(self.static, self.pen.static):
                return "it wrote into the modules' static data"
        return "what lies around its operands decides what it gives" if results[0] != results[-1] else None

    @staticmethod
    def _status(trial: Trial, status: int) -> str | None:
        if status == 0:
            needed = trial.cut and next(each for each in trial.operation.operands if each.name == trial.cut).needed(trial.numbers)
            return f"it took {trial.cut} of fewer bytes than {needed}" if needed and trial.content[trial.cut].nbytes < needed else None
        error = trial.operation.error(status, {**trial.numbers, **{name: np.zeros(0) for name in trial.content}})
        return None if "does not know" not in str(error) else str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", default=declare.families())
    parser.add_argument("--rounds", type=int, default=1000, help="calls of each kernel")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    with TemporaryDirectory() as folder:
        build.build(Path(folder), options.families)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    for family in options.families:
        fuzzer = Fuzzer(files, family)
        for kernel in fuzzer.kernels:
            faults = fuzzer.faults(kernel, options.rounds, options.seed)
            wrong += len(faults)
            print(f"{'WRONG' if faults else 'ok   '} {kernel.name}", *faults[:3], sep="\n      " if faults else " ", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
