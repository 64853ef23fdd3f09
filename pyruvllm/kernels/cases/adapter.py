import numpy as np

from . import case


def adapted(rng: np.random.Generator, size: int, dtype: type) -> dict:
    tokens, rows, cols = (rng.integers(0, 10, 3) + [0, 0, 1], (3, 70, 131), (2, 1024, 1024))[size]
    rank = (int(rng.integers(0, 6)), 5, 16)[size]
    return {
        "x": rng.standard_normal((tokens, cols), np.float32),
        "a": rng.standard_normal((rank, cols), np.float32).astype(dtype),
        "b": (rng.standard_normal((rows, rank), np.float32) / np.sqrt(cols)).astype(dtype),
        "y": rng.standard_normal((tokens, rows), np.float32),
        "tokens": int(tokens),
        "rows": int(rows),
        "cols": int(cols),
        "rank": rank,
        "scale": 0.5,
    }


@case(rtol=1e-6, atol=1e-5)  # sums of both signs: a few of their largest terms' half steps, of which atol is ten
def lora_apply(rng, size):
    return adapted(rng, size, np.float32)


@case(rtol=1e-6, atol=1e-5)
def lora_apply_f16(rng, size):
    return adapted(rng, size, np.float16)
