"""Who turns values into blocks and back: ``reference.blocks`` itself, or the compiled kernels, with the same bytes as result."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..library import Library
from ..reference import blocks


class Formats(Protocol):
    def quantize(self, kind: str, values: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
        """float32 (rows, cols) to uint8 (rows, bytes of a row); importance of each column or None."""

    def dequantize(self, kind: str, blocks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The way back."""


class CompiledFormats:
    """library: whose first kernel for each operation is used."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def quantize(self, kind: str, values: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
        rows, cols = values.shape
        made = np.empty((rows, blocks.row_bytes(kind, cols)), np.uint8)
        given = {"importance": importance} if kind.endswith("_k") else {}
        self._kernel(f"quantize_{kind}")(x=np.ascontiguousarray(values, np.float32), blocks=made, rows=rows, cols=cols, **given)
        return made

    def dequantize(self, kind: str, blocks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        values = np.empty(shape, np.float32)
        self._kernel(f"dequantize_{kind}")(blocks=blocks, y=values, rows=shape[0], cols=shape[1])
        return values

    def _kernel(self, operation: str):
        return self._library.kernel(operation, self._library.names(operation)[0])
