"""y = x @ W.T with weights as files have them, (rows, cols) float32 or float16: summed in float64 here, in float32 in the kernels."""

import numpy as np

from ...errors import OperandError


def linear_f32(x: np.ndarray, w: np.ndarray, y: np.ndarray, batch: int, rows: int, cols: int, first: int, count: int) -> None:
    given = x.reshape(-1)[: batch * cols].reshape(batch, cols).astype(np.float64)
    some = w.reshape(-1)[: rows * cols].reshape(rows, cols)[first : first + count].astype(np.float64)
    y.reshape(-1)[: batch * rows].reshape(batch, rows)[:, first : first + count] = given @ some.T


linear_f16 = linear_f32


def rows_f32(w: np.ndarray, index: np.ndarray, y: np.ndarray, n: int, rows: int, cols: int) -> None:
    chosen = index.reshape(-1)[:n]
    if (chosen >= rows).any():
        raise OperandError(f"index holds an index that is out of range for n {n}, rows {rows}, cols {cols}")
    y.reshape(-1)[: n * cols].reshape(n, cols)[:] = w.reshape(-1)[: rows * cols].reshape(rows, cols)[chosen]


rows_f16 = rows_f32
