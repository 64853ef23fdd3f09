"""Products of float32 matrices, summed in float64 here and in float32 in the kernels."""

import numpy as np


def matmul(a: np.ndarray, b: np.ndarray, c: np.ndarray, m: int, k: int, n: int) -> None:
    left = a.reshape(-1)[: m * k].reshape(m, k).astype(np.float64)
    right = b.reshape(-1)[: k * n].reshape(k, n).astype(np.float64)
    c.reshape(-1)[: m * n] = (left @ right).reshape(-1)


def matvec(w: np.ndarray, x: np.ndarray, y: np.ndarray, rows: int, cols: int) -> None:
    y.reshape(-1)[:rows] = w.reshape(-1)[: rows * cols].reshape(rows, cols).astype(np.float64) @ x.reshape(-1)[:cols].astype(np.float64)
