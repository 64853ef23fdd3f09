import numpy as np


def dot(query: np.ndarray, rows: np.ndarray, scores: np.ndarray, n: int, dim: int) -> None:
    scores.reshape(-1)[:n] = rows.reshape(-1)[: n * dim].reshape(n, dim) @ query.reshape(-1)[:dim]
