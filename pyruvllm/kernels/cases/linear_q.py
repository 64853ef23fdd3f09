import numpy as np

from ..reference import blocks, linear_q
from ..weights import LAID
from . import case

SHAPES = {32: ((3, 5, 32), (7, 22, 96), (5, 130, 1024)), 256: ((3, 5, 256), (7, 22, 512), (5, 130, 1024))}  # batch, rows, cols


def packed(rng, kind, rows, cols):
    """Random blocks whose float16 scales are moderate numbers; all other bytes are any."""
    values, size = blocks.BLOCKS[kind]
    data = rng.integers(0, 256, (rows * cols // values, size), np.uint8)
    for at in {"q4_0": (0,), "q8_0": (0,), "q4_k": (0, 2), "q6_k": (208,)}[kind]:
        scale = rng.uniform(-1, 1, len(data)) * {"q4_0": 0.01, "q8_0": 5e-4, "q4_k": 2e-4, "q6_k": 3e-5}[kind]
        data[:, at : at + 2] = scale.astype("<f2").reshape(-1, 1).view(np.uint8)
    return data.reshape(-1)


def laid(kind, rows, cols):
    """Room for a repacked matrix: not zero, since kernels write all of it."""
    per, size = LAID[kind]
    return np.full(-(-rows // 4) * (cols // per) * size, 0x5A, np.uint8)


def matrix(rng, kind, rows, cols):
    w = laid(kind, rows, cols)
    getattr(linear_q, f"repack_{kind}")(packed(rng, kind, rows, cols), w, rows, cols)
    return w


def shape(rng, kind, size):
    batch, rows, cols = SHAPES[blocks.BLOCKS[kind][0]][size]
    return (int(rng.integers(0, batch + 1)), int(rng.integers(0, rows + 1)), cols) if size == 0 else (batch, rows, cols)


def repack(kind):
    def make(rng, size):
        _, rows, cols = shape(rng, kind, size)
        return {"blocks": packed(rng, kind, rows, cols), "w": laid(kind, rows, cols), "rows": rows, "cols": cols}

    return case()(make)


def rows_of(kind):
    def make(rng, size):
        _, rows, cols = SHAPES[blocks.BLOCKS[kind][0]][size]
        index = rng.integers(0, rows, 2 * rows, np.uint32)
        y = np.zeros((len(index), cols), np.float32)
        return {"w": matrix(rng, kind, rows, cols), "index": index, "y": y, "n": len(index), "rows": rows, "cols": cols}

    return case(rtol=3e-7, atol=1e-7)(make)  # q d - min may round once or twice


def linear(kind):
    def make(rng, size):
        batch, rows, cols = shape(rng, kind, size)
        first = int(rng.integers(0, rows // 4 + 1)) * 4 if rng.random() < 0.5 else 0
        x = rng.standard_normal((batch, cols), np.float32) * np.exp(rng.uniform(-2, 2, (batch, 1))).astype(np.float32)
        x.reshape(-1, 32)[rng.random(batch * cols // 32) < 0.1] = 0
        w, y = matrix(rng, kind, rows, cols), np.full((batch, rows), 7, np.float32)
        count = int(rng.integers(0, rows - first + 1)) if rng.random() < 0.5 else rows - first
        return {"x": x, "w": w, "y": y, "batch": batch, "rows": rows, "cols": cols, "first": first, "count": count}

    return case(rtol=1e-5, atol=2e-5)(make)


repack_q4_0, rows_q4_0, linear_q4_0 = repack("q4_0"), rows_of("q4_0"), linear("q4_0")
repack_q4_k, rows_q4_k, linear_q4_k = repack("q4_k"), rows_of("q4_k"), linear("q4_k")
repack_q8_0, rows_q8_0, linear_q8_0 = repack("q8_0"), rows_of("q8_0"), linear("q8_0")
repack_q6_k, rows_q6_k, linear_q6_k = repack("q6_k"), rows_of("q6_k"), linear("q6_k")
