"""A weight matrix as the kernels like it, and what multiplies activations with it."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import OperandError
from .kernel import Call
from .reference import blocks

PLAIN = {"f32": np.dtype("<f4"), "f16": np.dtype("<f2")}  # used as files have them
LAID = {"q8_0": (32, 136), "q4_0": (32, 72), "q4_k": (256, 608), "q6_k": (256, 848)}  # columns and bytes of a block of four repacked rows
_PIECE = 4 << 20  # bytes of a file that are repacked at once, since natively they are copied to where kernels see them


class Kernels(Protocol):
    """What is needed of a ``KernelRegistry``."""

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray: ...

    def run(self, operation: str, /, **values: Any) -> None: ...

    def bind(self, operation: str, /, **values: Any) -> Call: ...


class Weights:
    """W, (rows, cols), of kind "f32", "f16", "q8_0", "q4_0", "q4_k" or "q6_k".

    data: as GGUF has it, row by row: bytes, or an array of any type and shape that lies in one piece; None: it comes later, by ``put``. It
    is copied, blocks into groups of four rows (``wasm_kernels/linear_q.h``). Raises OperandError where data, kind and shape do not fit each
    other, and for float weights that are infinite or NaN.
    """

    def __init__(self, kernels: Kernels, kind: str, shape: tuple[int, int], data: bytes | memoryview | np.ndarray | None = None) -> None:
        if kind not in PLAIN and kind not in LAID:
            raise OperandError(f"there are no weights of kind {kind!r}; there are {', '.join([*PLAIN, *LAID])}")
        self.rows, self.cols = shape
        self.kind = kind
        self._kernels = kernels
        if isinstance(data, np.ndarray) and not data.flags.c_contiguous:
            raise OperandError(f"weights {data.shape} do not lie in one piece: np.ascontiguousarray makes them so")
        self.row_bytes = PLAIN[kind].itemsize * self.cols if kind in PLAIN else blocks.row_bytes(kind, self.cols)
        file = None if data is None else data.reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
        if file is not None and file.size != self.rows * self.row_bytes:
            raise OperandError(f"{kind} weights {self.rows} x {self.cols} are {self.rows * self.row_bytes} bytes, not {file.size}")
        if kind in PLAIN:
            self.w = kernels.empty(shape, PLAIN[kind])
        else:
            per, length = LAID[kind]
            self.w = kernels.empty((-(-self.rows // 4), self.cols // per * length), np.uint8)
        if file is not None:
            for row, rows in pieces(self.rows, self.row_bytes):
                self.put(row, file[row * self.row_bytes : (row + rows) * self.row_bytes])

    @classmethod
    def of(cls, kernels: Kernels, values: np.ndarray, kind: str = "f32") -> "Weights":
        """From numbers (rows, cols), rounded to ``kind``. Raises OperandError."""
        values = np.ascontiguousarray(values, np.float32)
        if values.ndim != 2:
            raise OperandError(f"weights are (rows, cols), not {values.shape}")
        weights = cls(kernels, kind, values.shape)
        weights.put_numbers(0, values)
        return weights

    def put(self, row: int, data: np.ndarray) -> None:
        """Puts whole rows as a file has them, uint8, in their place from ``row`` on, a multiple of 4. OperandError as above."""
        rows = data.size // self.row_bytes
        if self.kind in PLAIN:
            part = self.w[row : row + rows]
            part.reshape(-1).view(np.uint8)[:] = data
            exponent, word = (0x7C00, np.uint16) if self.kind == "f16" else (0x7F800000, np.uint32)
            if (part.view(word) & word(exponent) == exponent).any():
                raise OperandError(f"{self.kind} weights {self.rows} x {self.cols} hold infinite numbers or NaN")
        else:
            room = self.w[row // 4 : (row + rows + 3) // 4]
            self._kernels.run(f"repack_{self.kind}", blocks=data, w=room, rows=rows, cols=self.cols)

    def put_numbers(self, row: int, values: np.ndarray) -> None:
        """The same of numbers, float32 (rows, cols), which are rounded to ``kind``."""
        if self.kind in LAID:
            data = self._kernels.empty((len(values), self.row_bytes), np.uint8)
            self._kernels.run(f"quantize_{self.kind}", x=values, blocks=data, rows=len(values), cols=self.cols)
        else:
            with np.errstate(over="ignore"):
                data = values.astype(PLAIN[self.kind])
        for start, rows in pieces(len(values), self.row_bytes):
            self.put(row + start, data[start : start + rows].reshape(-1).view(np.uint8))

    def __repr__(self) -> str:
        return f"<Weights {self.kind} {self.rows} x {self.cols}, {self.nbytes} bytes>"

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.cols

    @property
    def nbytes(self) -> int:
        return self.w.nbytes

    @property
    def operation(self) -> str:
        """That multiplies with it."""
        return f"linear_{self.kind}"

    def bind(self, x: np.ndarray, y: np.ndarray, first: int = 0, count: int | None = None) -> Call:
        """A call that fills y = x @ W.T, float32 (batch, cols) to (batch, rows), or of y only columns first ... first + count - 1.

        ``batch`` may be set lower between runs. ``first`` is a multiple of 4. Raises OperandError.
        """
        batch = x.size // self.cols if self.cols else len(y)
        if batch * self.cols != x.size or batch * self.rows != y.size:
            raise OperandError(f"x {x.shape} and y {y.shape} are no (batch, {self.cols}) and (batch, {self.rows})")
        numbers = {"batch": batch, "rows": self.rows, "cols": self.cols, "first": first}
        return self._kernels.bind(self.operation, x=x, w=self.w, y=y, **numbers, count=self.rows - first if count is None else count)

    def bind_rows(self, index: np.ndarray, y: np.ndarray) -> Call:
        """A call that fills y (n, cols) with the rows that index, uint32 (n,), names when it runs: what an embedding does.

        Raises OperandError; the call does for an index that is no row.
        """
        if index.size * self.cols != y.size:
            raise OperandError(f"y {y.shape} is no ({index.size}, {self.cols})")
        return self._kernels.bind(f"rows_{self.kind}", w=self.w, index=index, y=y, n=index.size, rows=self.rows, cols=self.cols)

    def dequantised(self) -> np.ndarray:
        """The numbers that it stands for, float32 (rows, cols)."""
        y = np.empty(self.shape, np.float32)
        index = np.arange(self.rows, dtype=np.uint32)
        self._kernels.run(f"rows_{self.kind}", w=self.w, index=index, y=y, n=self.rows, rows=self.rows, cols=self.cols)
        return y


def pieces(rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """(row, rows) of pieces of a file that are copied or repacked at once: whole groups of four rows, all but the last."""
    step = max(_PIECE // max(row_bytes, 1) // 4, 1) * 4
    for row in range(0, rows, step):
        yield row, min(step, rows - row)
