import numpy as np


def lora_apply(
    x: np.ndarray, a: np.ndarray, b: np.ndarray, y: np.ndarray, tokens: int, rows: int, cols: int, rank: int, scale: float
) -> None:
    """Hu et al., 2021, in float64. x (tokens, cols), a (rank, cols), b (rows, rank), y (tokens, rows)."""
    down, up = (matrix(each, *shape).astype(np.float64) for each, shape in ((a, (rank, cols)), (b, (rows, rank))))
    out = matrix(y, tokens, rows)
    out[...] = out + np.float64(np.float32(scale)) * (matrix(x, tokens, cols) @ down.T @ up.T)


lora_apply_f16 = lora_apply


def matrix(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return x.reshape(-1)[: rows * columns].reshape(rows, columns)
