"""The operations between a language model's matrix products, computed in float64 and rounded once."""

import numpy as np


def rms_norm(x: np.ndarray, w: np.ndarray, y: np.ndarray, rows: int, dim: int, eps: float) -> None:
    """Zhang and Sennrich, 2019. x, y (rows, dim); w (dim,)."""
    wide, out = matrix(x, rows, dim).astype(np.float64), matrix(y, rows, dim)
    with np.errstate(divide="ignore", invalid="ignore"):
        out[...] = wide / np.sqrt(np.mean(wide**2, axis=1, keepdims=True) + eps) * w.reshape(-1)[:dim]


def layer_norm(x: np.ndarray, w: np.ndarray, b: np.ndarray, y: np.ndarray, rows: int, dim: int, eps: float) -> None:
    """Ba, Kiros and Hinton, 2016. x, y (rows, dim); w, b (dim,)."""
    wide, out = matrix(x, rows, dim).astype(np.float64), matrix(y, rows, dim)
    deviation = wide - wide.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = deviation / np.sqrt(np.mean(deviation**2, axis=1, keepdims=True) + eps)
        out[...] = normal * w.reshape(-1)[:dim] + b.reshape(-1)[:dim]


def rotary(
    x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray, tokens: int, heads: int, dim: int, rot: int, interleaved: int
) -> None:
    """Su et al., 2021 (neighbouring pairs), and GPT-NeoX's order (halves). x (tokens, heads, dim); frequencies (rot / 2,)."""
    rows = x.reshape(-1)[: tokens * heads * dim].reshape(tokens, heads, dim)
    half = rot // 2
    angle = positions.reshape(-1)[:tokens, None, None] * frequencies.reshape(-1)[:half].astype(np.float64)  # (tokens, 1, half)
    pairs = (slice(0, rot, 2), slice(1, rot, 2)) if interleaved else (slice(0, half), slice(half, rot))
    first, second = (rows[..., pair].astype(np.float64) for pair in pairs)
    rows[..., pairs[0]] = first * np.cos(angle) - second * np.sin(angle)
    rows[..., pairs[1]] = second * np.cos(angle) + first * np.sin(angle)


def short_conv(
    state: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    history: np.ndarray | None,
    tokens: int,
    channels: int,
    kernel: int,
) -> None:
    """state (kernel - 1, channels), oldest first; x, y (tokens, channels); w (channels, kernel)."""
    before, out = matrix(state, kernel - 1, channels), matrix(y, tokens, channels)
    columns = np.concatenate([before, matrix(x, tokens, channels)])  # (kernel - 1 + tokens, channels)
    taps = matrix(w, channels, kernel).astype(np.float64)
    out[...] = sum(taps[:, j] * columns[j : j + tokens] for j in range(kernel))
    before[...] = columns[tokens:]
    if history is not None:
        matrix(history, *columns.shape)[...] = columns


def lfm2_conv(
    state: np.ndarray,
    bcx: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    history: np.ndarray | None,
    tokens: int,
    channels: int,
    kernel: int,
) -> None:
    """Liquid AI's LFM2, gated short convolution. bcx (tokens, 3 channels); the others as in short_conv."""
    b, c, x = np.split(matrix(bcx, tokens, 3 * channels), 3, axis=1)
    short_conv(state, b * x, w, y, history, tokens, channels, kernel)
    matrix(y, tokens, channels)[...] *= c


def matrix(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return x.reshape(-1)[: rows * columns].reshape(rows, columns)
