"""A weight matrix in blocks, and what must happen to the activations that meet it."""

from dataclasses import dataclass

import numpy as np

from ...errors import OperandError
from ..reference import blocks


@dataclass(frozen=True)
class QuantizedMatrix:
    """kind, blocks uint8 (rows, bytes of a row), shape (rows, cols); method that made it.

    input_scale: None, or float32 (cols,) by which activations are divided before they are multiplied with the blocks: awq only.
    """

    kind: str
    blocks: np.ndarray
    shape: tuple[int, int]
    method: str
    input_scale: np.ndarray | None = None

    def dequantize(self) -> np.ndarray:
        """float32 (rows, cols): the matrix that undivided activations meet."""
        values = blocks.dequantize(self.kind, self.blocks, self.shape)
        return values if self.input_scale is None else values / self.input_scale

    def folded(self, norm: np.ndarray) -> np.ndarray:
        """The weight (cols,) of the norm before this matrix, changed so that its outputs come divided: then nothing is done at run time.

        Holds where this matrix is all that reads the norm. Matrices that share one (queries, keys, values; gate and up) must share a
        scale: quantise them as one, stacked row on row, and cut the blocks by rows.
        """
        if norm.shape != self.shape[1:]:
            raise OperandError(f"the norm before a matrix of {self.shape[1]} columns has {self.shape[1]} weights, not {norm.shape}")
        return norm if self.input_scale is None else (norm / self.input_scale).astype(norm.dtype)
