import numpy as np

from ...errors import OperandError


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray | None,
    tokens: int,
    context: int,
    heads: int,
    kv_heads: int,
    dim: int,
    offset: int,
    scale: float,
) -> None:
    """In float64, one head at a time. Shapes: attention.toml."""
    q = q.reshape(-1)[: tokens * heads * dim].reshape(tokens, heads, dim)
    k = k.reshape(-1)[: context * kv_heads * dim].reshape(context, kv_heads, dim)
    v = v.reshape(-1)[: context * kv_heads * dim].reshape(context, kv_heads, dim)
    out = out.reshape(-1)[: tokens * heads * dim].reshape(tokens, heads, dim)
    hidden = np.arange(context) > offset + np.arange(tokens)[:, None]  # (tokens, context)
    for head in range(heads):
        shared = head // (heads // kv_heads)
        scores = float(np.float32(scale)) * (q[:, head].astype(np.float64) @ k[:, shared].T.astype(np.float64))
        scores[hidden] = -np.inf
        top = scores.max(1, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isfinite(top), top, 0)[:, None])
        total = weights.sum(1)
        out[:, head] = (weights @ v[:, shared].astype(np.float64)) / np.where(total > 0, total, 1)[:, None]
        if lse is not None:
            with np.errstate(divide="ignore"):
                lse.reshape(-1)[: tokens * heads].reshape(tokens, heads)[:, head] = top + np.log(total)


def merge_attention(out: np.ndarray, lse: np.ndarray, other: np.ndarray, other_lse: np.ndarray, rows: int, dim: int) -> None:
    mine, theirs = (each.reshape(-1)[: rows * dim].reshape(rows, dim) for each in (out, other))  # (rows, dim)
    first, second = (each.reshape(-1)[:rows].astype(np.float64) for each in (lse, other_lse))
    both = np.logaddexp(first, second)
    empty = np.isneginf(both)
    base = np.where(empty, 0, both)
    mine[...] = np.where(empty[:, None], mine, mine * np.exp(first - base)[:, None] + theirs * np.exp(second - base)[:, None])
    lse.reshape(-1)[:rows] = both


def hadamard(x: np.ndarray, rows: int, dim: int) -> None:
    """Sylvester's matrix, built by doubling [[H, H], [H, -H]]."""
    if dim & (dim - 1):
        raise OperandError(f"hadamard: dim holds a value that cannot be; it is a power of two, not {dim}")
    matrix = x.reshape(-1)[: rows * dim].reshape(rows, dim)
    result = matrix.astype(np.float64)
    apart = 1
    while apart < dim:
        pairs = result.reshape(rows, dim // (2 * apart), 2, apart)
        result = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2).reshape(rows, dim)
        apart *= 2
    matrix[...] = result / np.sqrt(dim)
