"""Kernels in Pyodide: side modules that Emscripten's dynamic loader puts into the interpreter's own memory, numpy arrays in place."""

import ctypes
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import host
from ..errors import KernelError

ALIGN = 16


class Heap:
    """The interpreter's memory. Every array that lies in one piece is in it."""

    name = "heap"

    def __init__(self) -> None:
        self.features = host.current().wasm_features()
        self.engine = host.current().engine()

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray:
        shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        dtype = np.dtype(dtype)
        size = prod(shape) * dtype.itemsize
        room = np.empty(size + ALIGN, np.uint8)
        start = -self.address(room) % ALIGN
        return room[start : start + size].view(dtype).reshape(shape)

    def address(self, array: np.ndarray) -> int:
        return array.__array_interface__["data"][0]

    def load(self, module: bytes, name: str) -> Callable[[str], "HeapFunction"]:
        folder = Path(tempfile.gettempdir()) / "pyruvllm-kernels"
        folder.mkdir(exist_ok=True)
        path = folder / f"{hashlib.sha256(module).hexdigest()}.so"
        path.write_bytes(module)
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise KernelError(f"this browser cannot load the kernels of {name}: {error}") from None
        finally:
            path.unlink()
        exports = host.current().wasm_exports(str(path))
        return lambda export: HeapFunction(library, exports, name, export)


class HeapFunction:
    """Called through the module's own export where that can be had, which costs half of what ctypes does."""

    def __init__(self, library: ctypes.CDLL, exports: Any, module: str, export: str) -> None:
        try:
            function = getattr(library, export)
        except AttributeError:
            raise KernelError(f"{module} does not export {export}") from None
        function.argtypes, function.restype = [ctypes.c_uint32], ctypes.c_int32
        self.index = ctypes.cast(function, ctypes.c_void_p).value
        self._call = function if exports is None else getattr(exports, export)

    def __call__(self, address: int) -> int:
        return self._call(address)
