"""From logits to probabilities, and to the few largest. Rows are computed in float64 and rounded once."""

import numpy as np

from ...errors import OperandError


def softmax(x: np.ndarray, y: np.ndarray, rows: int, n: int, scale: float) -> None:
    """x, y (rows, n)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        powers, _ = exponentials("softmax", x, rows, n, scale)
        total = powers.sum(axis=1, keepdims=True)
        y.reshape(-1)[: rows * n] = (powers / np.where(total == 0, 1, total)).reshape(-1)


def log_softmax(x: np.ndarray, y: np.ndarray, rows: int, n: int, scale: float) -> None:
    """x, y (rows, n)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        powers, scaled = exponentials("log_softmax", x, rows, n, scale)
        total = powers.sum(axis=1, keepdims=True)
        y.reshape(-1)[: rows * n] = (scaled - np.log(np.where(total == 0, 1, total))).reshape(-1)


def exponentials(operation: str, x: np.ndarray, rows: int, n: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """e^scaled and scaled = scale x (x - the row's largest), (rows, n) float64; minus 0 where the largest is -infinity."""
    factor = np.float64(np.float32(scale))
    if not 0 < factor <= np.finfo(np.float32).max:
        raise OperandError(f"{operation}: scale holds a value that cannot be; it is above 0 and finite, not {scale}")
    logits = x.reshape(-1)[: rows * n].reshape(rows, n).astype(np.float64)
    top = logits.max(axis=1, keepdims=True, initial=-np.inf)
    scaled = (logits - np.where(top == -np.inf, 0, top)) * factor
    return np.exp(scaled), scaled


def argmax(x: np.ndarray, indices: np.ndarray, rows: int, n: int) -> None:
    """x (rows, n); indices (rows,)."""
    logits = x.reshape(-1)[: rows * n].reshape(rows, n)
    number = ~np.isnan(logits)
    is_top = number & (logits == np.where(number, logits, -np.inf).max(axis=1, keepdims=True))
    indices.reshape(-1)[:rows] = is_top.argmax(axis=1)


def topk(x: np.ndarray, values: np.ndarray, indices: np.ndarray, n: int, k: int) -> None:
    """x (n,); values, indices (k,)."""
    numbers = x.reshape(-1)[:n] + np.float32(0)
    order = np.lexsort((-numbers, np.isnan(numbers)))[:k]  # stable: equal ones stay in order
    values.reshape(-1)[:k] = numbers[order]
    indices.reshape(-1)[:k] = order
