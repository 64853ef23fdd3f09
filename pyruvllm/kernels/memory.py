"""Memory that kernels and numpy share, and the modules loaded into it: one interface, two hosts.

heap.py    Pyodide: the interpreter's own heap; every array is in it already
arena.py   native Python: a WASM memory of wasmtime's; arrays that kernels touch are allocated there
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np


class Function(Protocol):
    index: int  # in the function table that all modules of one memory share

    def __call__(self, address: int) -> int:
        """Runs the kernel on the struct at that address; its status."""


class KernelMemory(Protocol):
    """Where kernels work. Kernels of one memory are loaded once and stay."""

    name: str  # "heap" or "arena"
    features: frozenset[str]  # of WASM, beyond the core: "simd128", "relaxed-simd"
    engine: str  # what compiles and runs the modules, with its version: what was measured in one says nothing of another

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray:
        """An array that kernels can see, its first byte at a multiple of 16. Raises MemoryError where there is no room."""

    def address(self, array: np.ndarray) -> int | None:
        """Of its first byte, as kernels count; None where they cannot see it."""

    def load(self, module: bytes, name: str) -> Callable[[str], Function]:
        """Compiles a module whose bytes were verified; gives its exports by name. Raises KernelError."""


def current() -> "KernelMemory | None":
    """The memory of this host; None where nothing here runs WASM kernels (native Python without wasmtime)."""
    if sys.platform == "emscripten":
        from .heap import Heap

        return Heap()
    try:
        import wasmtime  # noqa: F401
    except ImportError:
        return None
    from .arena import Arena

    return Arena()
