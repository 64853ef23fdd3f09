import numpy as np

from . import case


@case(rtol=2e-5, atol=2e-5)
def attention(rng, size):
    heads, kv_heads, dim = [(1, 1, 4), (3, 3, 20), (6, 2, 64), (4, 1, 80), (16, 8, 64)][rng.integers(3) + size]
    tokens = int(rng.integers(0, (3, 6, 40)[size]))
    context = int(rng.integers(0, (6, 150, 400)[size]))
    return {
        "q": rng.standard_normal((tokens, heads, dim), np.float32),
        "k": rng.standard_normal((context, kv_heads, dim), np.float32),
        "v": rng.standard_normal((context, kv_heads, dim), np.float32),
        "out": np.full((tokens, heads, dim), 7, np.float32),
        "lse": np.zeros((tokens, heads), np.float32) if rng.integers(4) else None,
        "tokens": tokens,
        "context": context,
        "heads": heads,
        "kv_heads": kv_heads,
        "dim": dim,
        "offset": int(rng.integers(-3, context + 2)),
        "scale": (dim**-0.5, 1.0)[rng.integers(2)],
    }


@case(rtol=1e-5, atol=1e-6)
def merge_attention(rng, size):
    rows, dim = ((2, 3), (17, 70), (320, 64))[size]
    lse, other_lse = (rng.normal(0, 20, rows).astype(np.float32) for _ in range(2))
    lse[rng.random(rows) < 0.2] = -np.inf
    other_lse[rng.random(rows) < 0.2] = -np.inf
    return {
        "out": np.where(np.isneginf(lse)[:, None], 0, rng.standard_normal((rows, dim), np.float32)),
        "lse": lse,
        "other": np.where(np.isneginf(other_lse)[:, None], 0, rng.standard_normal((rows, dim), np.float32)),
        "other_lse": other_lse,
        "rows": rows,
        "dim": dim,
    }


@case(rtol=1e-5, atol=2e-6)
def hadamard(rng, size):
    rows = (1, 5, 100)[size]
    dim = 1 << int(rng.integers(0, (3, 8, 10)[size]))
    return {"x": rng.standard_normal((rows, dim), np.float32), "rows": rows, "dim": dim}
