"""Weights to the block formats of GGUF, by three methods behind one function.

    rtn    every value to its nearest level: needs nothing but the weights
    gptq   column by column, each column's error made up for by those still to come (gptq.py): needs calibration
    awq    columns that meet large activations get finer steps (awq.py): needs calibration, and a change of what comes before

calibration is what the matrix is multiplied with when the model runs: (samples, cols) float32, as x in x @ weights.T; a few hundred
samples of real text, better more than there are columns.
"""

from collections.abc import Callable

import numpy as np

from ...errors import OperandError
from ..reference import blocks
from . import awq, gptq
from .formats import Formats
from .matrix import QuantizedMatrix

METHODS = ("rtn", "gptq", "awq")

__all__ = ["METHODS", "Formats", "QuantizedMatrix", "quantize"]


def quantize(
    weights: np.ndarray,
    kind: str,
    method: str = "rtn",
    calibration: np.ndarray | None = None,
    formats: Formats = blocks,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> QuantizedMatrix:
    """weights (rows, cols) float32 as blocks of ``kind`` (blocks.BLOCKS).

    formats: who turns values into blocks, ``blocks`` in numpy or ``formats.CompiledFormats``. progress: told (done, total) between
    slices; the job ends where it raises. Raises OperandError for what cannot be quantised, and where a method lacks its calibration.
    """
    if method not in METHODS:
        raise OperandError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    weights = np.ascontiguousarray(weights, np.float32)
    if weights.ndim != 2 or not weights.size:
        raise OperandError(f"weights are a matrix (rows, cols), not of shape {weights.shape}")
    blocks.row_bytes(kind, weights.shape[1])
    if not (np.abs(weights) <= blocks.LIMIT).all():
        raise OperandError(f"weights hold NaN or a value beyond {blocks.LIMIT:g}, the largest float16")
    if method == "rtn":
        return QuantizedMatrix(kind, formats.quantize(kind, weights, None), weights.shape, method)
    x = _checked(calibration, method, weights.shape[1])
    return (gptq if method == "gptq" else awq).quantize(weights, kind, x, formats, progress)


def _checked(calibration: np.ndarray | None, method: str, cols: int) -> np.ndarray:
    if calibration is None:
        raise OperandError(f"method {method} needs calibration: activations (samples, {cols})")
    x = np.ascontiguousarray(calibration, np.float32)
    if x.ndim != 2 or x.shape[1] != cols or not len(x):
        raise OperandError(f"calibration is (samples, {cols}) for weights of {cols} columns, not {x.shape}")
    if not np.isfinite(x).all():
        raise OperandError("calibration holds NaN or infinity")
    if not x.any():
        raise OperandError("calibration is all zero: it says nothing about the columns")
    return x
