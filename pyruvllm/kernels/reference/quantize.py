"""float32 to blocks and back (blocks.py). All results are the same bytes in every implementation."""

import numpy as np

from . import blocks as formats


def quantize_q8_0(x: np.ndarray, blocks: np.ndarray, rows: int, cols: int) -> None:
    _quantize("q8_0", x, None, blocks, rows, cols)


def quantize_q4_0(x: np.ndarray, blocks: np.ndarray, rows: int, cols: int) -> None:
    _quantize("q4_0", x, None, blocks, rows, cols)


def quantize_q4_k(x: np.ndarray, importance: np.ndarray | None, blocks: np.ndarray, rows: int, cols: int) -> None:
    _quantize("q4_k", x, importance, blocks, rows, cols)


def quantize_q6_k(x: np.ndarray, importance: np.ndarray | None, blocks: np.ndarray, rows: int, cols: int) -> None:
    _quantize("q6_k", x, importance, blocks, rows, cols)


def dequantize_q8_0(blocks: np.ndarray, y: np.ndarray, rows: int, cols: int) -> None:
    _dequantize("q8_0", blocks, y, rows, cols)


def dequantize_q4_0(blocks: np.ndarray, y: np.ndarray, rows: int, cols: int) -> None:
    _dequantize("q4_0", blocks, y, rows, cols)


def dequantize_q4_k(blocks: np.ndarray, y: np.ndarray, rows: int, cols: int) -> None:
    _dequantize("q4_k", blocks, y, rows, cols)


def dequantize_q6_k(blocks: np.ndarray, y: np.ndarray, rows: int, cols: int) -> None:
    _dequantize("q6_k", blocks, y, rows, cols)


def _quantize(kind: str, x: np.ndarray, importance: np.ndarray | None, blocks: np.ndarray, rows: int, cols: int) -> None:
    if rows * cols:
        weights = None if importance is None else importance.reshape(-1)[:cols]
        made = formats.quantize(kind, x.reshape(-1)[: rows * cols].reshape(rows, cols), weights)
        blocks.reshape(-1)[: made.size] = made.reshape(-1)


def _dequantize(kind: str, blocks: np.ndarray, y: np.ndarray, rows: int, cols: int) -> None:
    size = rows * formats.row_bytes(kind, cols)
    y.reshape(-1)[: rows * cols] = formats.dequantize(kind, blocks.reshape(-1)[:size], (rows, cols)).reshape(-1)
