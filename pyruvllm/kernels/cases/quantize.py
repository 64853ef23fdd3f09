import numpy as np

from ..reference.blocks import BLOCKS
from . import case


def values(rng, rows, cols):
    """Weights of all sizes: rows of zeros, of one value, of whole numbers (ties), tiny ones, large ones."""
    x = rng.standard_normal((rows, cols)).astype(np.float32)
    x *= np.exp2(rng.integers(-24, 10, (rows, cols // 32, 1)).astype(np.float32)).repeat(32, axis=2).reshape(rows, cols)
    kind = rng.integers(0, 8, (rows, cols // 32)).repeat(32, axis=1)
    x[kind == 0] = 0
    x[kind == 1] = np.rint(rng.standard_normal(int((kind == 1).sum())) * 8) / 2
    x[kind == 2] = np.abs(x[kind == 2])
    x[kind == 3] *= np.float32(1e-30)
    x[kind == 4] = -1.5
    return x


def quantizing(kind, weighted=False):
    def make(rng, size):
        per, nbytes = BLOCKS[kind]
        rows, cols = ((1, per), (5, 3 * per), (33, 1024))[size]
        if size == 0 and rng.integers(2):
            rows = 0
        arguments = {"x": values(rng, rows, cols), "blocks": np.zeros((rows, cols // per * nbytes), np.uint8), "rows": rows, "cols": cols}
        if weighted:
            given = rng.integers(3)
            arguments["importance"] = rng.exponential(1.0, cols).astype(np.float32) * (rng.random(cols) < 0.9) if given else None
        return arguments

    return case()(make)


def dequantizing(kind):
    def make(rng, size):
        per, nbytes = BLOCKS[kind]
        rows, cols = ((1, per), (5, 3 * per), (33, 1024))[size]
        raw = rng.integers(0, 256, (rows * cols // per, nbytes), np.uint8)
        for at in {"q4_k": (0, 2), "q6_k": (208,)}.get(kind, (0,)):
            scales = np.exp2(rng.uniform(-20, 8, len(raw))).astype(np.float16)
            raw[:, at : at + 2] = (scales * rng.choice([-1, 1], len(raw))).astype("<f2").view(np.uint8).reshape(-1, 2)
        return {"blocks": raw.reshape(rows, -1), "y": np.zeros((rows, cols), np.float32), "rows": rows, "cols": cols}

    return case()(make)


quantize_q8_0, quantize_q4_0 = quantizing("q8_0"), quantizing("q4_0")
quantize_q4_k, quantize_q6_k = quantizing("q4_k", weighted=True), quantizing("q6_k", weighted=True)
dequantize_q8_0, dequantize_q4_0, dequantize_q4_k, dequantize_q6_k = map(dequantizing, BLOCKS)
