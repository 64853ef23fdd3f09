"""Kernels natively: wasmtime runs the same modules the browser runs, in one linear memory that numpy looks into."""

import ctypes
import platform
from bisect import bisect, insort
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import wasmtime as wt

from ..errors import KernelError
from . import wasm

PAGE = 65536
STACK = 4 * PAGE  # at the bottom of the memory: a stack that overruns it leaves the memory and traps
ALIGN = 64


class Arena:
    """A WASM memory of at most ``limit`` bytes. It grows by need and its addresses never change. Not for several threads at once."""

    name = "arena"
    features = frozenset({"simd128", "relaxed-simd"})

    def __init__(self, limit: int = 4 << 30) -> None:
        self.engine = f"wasmtime {version('wasmtime')} on {_processor()}"
        self._engine = self._compiler()
        self._store = wt.Store(self._engine)
        self._pages = min(limit // PAGE, 65536)
        self._memory = wt.Memory(self._store, wt.MemoryType(wt.Limits(STACK // PAGE, self._pages)))
        self._table = wt.Table(self._store, wt.TableType(wt.ValType.funcref(), wt.Limits(1, None)), None)
        self._stack = self._global(STACK, mutable=True)
        self._origin = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        self._end = STACK  # of the memory so far, bytes
        self._holes: list[tuple[int, int]] = []  # (start, length) of free memory, ascending, no two adjacent
        self._given: deque[tuple[int, int]] = deque()  # free memory that is not among the holes yet

    @classmethod
    @cache
    def _compiler(cls) -> wt.Engine:
        return wt.Engine(cls._config())

    @classmethod
    def _config(cls) -> wt.Config:
        config = wt.Config()
        config.wasm_relaxed_simd = True
        return config

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray:
        shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        dtype = np.dtype(dtype)
        return np.asarray(_Block(self, prod(shape) * dtype.itemsize)).view(dtype).reshape(shape)

    def address(self, array: np.ndarray) -> int | None:
        start = array.__array_interface__["data"][0] - self._origin
        return start if 0 <= start and start + array.nbytes <= self._end else None

    def load(self, module: bytes, name: str) -> Callable[[str], "ArenaFunction"]:
        need = wasm.dynamic(module)
        base = self._take(need.memory) if need.memory else ALIGN
        table = self._table.size(self._store)
        if need.table:
            self._table.grow(self._store, need.table, None)
        given = {
            "memory": self._memory,
            "__indirect_function_table": self._table,
            "__memory_base": self._global(base),
            "__table_base": self._global(table),
            "__stack_pointer": self._stack,
        }
        try:
            compiled = _compiled(self._engine, module)
            instance = wt.Instance(self._store, compiled, [given[each.name] for each in compiled.imports])
            exports = instance.exports(self._store)
            for start in ("__wasm_apply_data_relocs", "__wasm_call_ctors"):
                if start in exports:
                    exports[start](self._store)
        except (wt.WasmtimeError, wt.Trap, KeyError) as error:
            raise KernelError(f"wasmtime cannot load the kernels of {name}: {error}") from None
        return lambda export: ArenaFunction(self, name, export, exports)

    def _global(self, value: int, mutable: bool = False) -> wt.Global:
        return wt.Global(self._store, wt.GlobalType(wt.ValType.i32(), mutable), wt.Val.i32(value))

    def _take(self, size: int) -> int:
        """The start of that many free bytes: the first hole they fit in, else new memory."""
        while self._given:
            self._merge(*self._given.popleft())
        size = _rounded(size)
        for at, (start, length) in enumerate(self._holes):
            if length >= size:
                self._holes[at : at + 1] = [(start + size, length - size)] if length > size else []
                return start
        if self._holes and sum(self._holes[-1]) == self._end:  # the last hole can be made longer
            start = self._holes.pop()[0]
        else:
            start = self._end
        pages = -(-(start + size - self._end) // PAGE)
        try:
            self._memory.grow(self._store, pages)
        except wt.WasmtimeError:
            if start < self._end:
                insort(self._holes, (start, self._end - start))
            raise MemoryError(f"no {size} bytes for kernels: {self._end} of at most {self._pages * PAGE} are in use") from None
        self._end += pages * PAGE
        if start + size < self._end:
            self._holes.append((start + size, self._end - start - size))
        return start

    def _give(self, start: int, size: int) -> None:
        """Garbage collection calls this at any moment, in the middle of ``_take`` too: only that one touches the holes."""
        self._given.append((start, _rounded(size)))

    def _merge(self, start: int, length: int) -> None:
        at = bisect(self._holes, (start, length))
        if at < len(self._holes) and start + length == self._holes[at][0]:
            length += self._holes.pop(at)[1]
        if at and sum(self._holes[at - 1]) == start:
            start, length = self._holes[at - 1][0], self._holes[at - 1][1] + length
            at -= 1
            del self._holes[at]
        self._holes.insert(at, (start, length))


@lru_cache(maxsize=64)  # both builds of every family, for all memories of the process
def _compiled(engine: wt.Engine, module: bytes) -> wt.Module:
    return wt.Module(engine, module)


def _rounded(size: int) -> int:
    return max(-(-size // ALIGN) * ALIGN, ALIGN)


def _processor() -> str:
    """Its model, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{platform.machine()} {model}".strip()


class _Block:
    """Memory of an arena for as long as an array, or a view of it, looks at it."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, arena: Arena, size: int) -> None:
        start = arena._take(size)
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (arena._origin + start, False)}
        finalize(self, arena._give, start, size).atexit = False


class ArenaFunction:
    def __init__(self, arena: Arena, module: str, export: str, exports: Any) -> None:
        if export not in exports:
            raise KernelError(f"{module} does not export {export}")
        self._call = exports[export]
        self._store = arena._store
        self._stack = arena._stack
        self.index = arena._table.grow(arena._store, 1, self._call)

    def __call__(self, address: int) -> int:
        try:
            return self._call(self._store, address)
        except wt.Trap as trap:
            self._stack.set_value(self._store, wt.Val.i32(STACK))  # what trapped did not leave it as it was
            raise KernelError(f"a kernel trapped: {trap.message}") from None
