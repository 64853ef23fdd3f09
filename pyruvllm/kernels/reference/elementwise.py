"""Functions of each number of x (n,), computed in float64 and rounded once."""

from math import erf

import numpy as np


def exp(x: np.ndarray, y: np.ndarray, n: int) -> None:
    with np.errstate(over="ignore"):
        value = np.exp(wide(x, n))
        y.reshape(-1)[:n] = np.where(value < 2.0**-126, 0, value)


def log(x: np.ndarray, y: np.ndarray, n: int) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        y.reshape(-1)[:n] = np.log(wide(x, n))


def tanh(x: np.ndarray, y: np.ndarray, n: int) -> None:
    y.reshape(-1)[:n] = np.tanh(wide(x, n))


def sigmoid(x: np.ndarray, y: np.ndarray, n: int) -> None:
    y.reshape(-1)[:n] = logistic(wide(x, n))


def silu(x: np.ndarray, y: np.ndarray, n: int) -> None:
    with np.errstate(invalid="ignore"):
        y.reshape(-1)[:n] = wide(x, n) * logistic(wide(x, n))


def gelu(x: np.ndarray, y: np.ndarray, n: int) -> None:
    with np.errstate(invalid="ignore"):
        y.reshape(-1)[:n] = wide(x, n) / 2 * (1 + np.vectorize(erf, otypes=[float])(wide(x, n) / np.sqrt(2)))


def sin(x: np.ndarray, y: np.ndarray, n: int) -> None:
    with np.errstate(invalid="ignore"):
        y.reshape(-1)[:n] = np.where(np.abs(wide(x, n)) < 3e9, np.sin(wide(x, n)), np.nan)


def cos(x: np.ndarray, y: np.ndarray, n: int) -> None:
    with np.errstate(invalid="ignore"):
        y.reshape(-1)[:n] = np.where(np.abs(wide(x, n)) < 3e9, np.cos(wide(x, n)), np.nan)


def add(x: np.ndarray, y: np.ndarray, n: int) -> None:
    y.reshape(-1)[:n] += x.reshape(-1)[:n]


def scale_add(x: np.ndarray, y: np.ndarray, n: int, scale: float) -> None:
    y.reshape(-1)[:n] = wide(y, n) + np.float64(np.float32(scale)) * wide(x, n)


def multiply(x: np.ndarray, y: np.ndarray, n: int) -> None:
    y.reshape(-1)[:n] *= x.reshape(-1)[:n]


def swiglu(gate: np.ndarray, up: np.ndarray, y: np.ndarray, n: int) -> None:
    y.reshape(-1)[:n] = wide(gate, n) * logistic(wide(gate, n)) * wide(up, n)


def wide(x: np.ndarray, n: int) -> np.ndarray:
    return x.reshape(-1)[:n].astype(np.float64)


def logistic(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))
