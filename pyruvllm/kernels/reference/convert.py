import numpy as np


def widen(x: np.ndarray, y: np.ndarray, n: int) -> None:
    y.reshape(-1)[:n] = x.reshape(-1)[:n]


def narrow(x: np.ndarray, y: np.ndarray, n: int) -> None:
    with np.errstate(over="ignore"):
        y.reshape(-1)[:n] = x.reshape(-1)[:n]
