import numpy as np

from . import case

SHAPES = ((3, 6, 9), (7, 23, 70), (11, 130, 1024))  # batch, rows, cols


def linear(dtype):
    def make(rng, size):
        batch, rows, cols = SHAPES[size]
        if size == 0:
            batch, rows, cols = (int(rng.integers(0, most + 1)) for most in (batch, rows, cols))
        first = int(rng.integers(0, rows + 1)) if rng.random() < 0.5 else 0
        count = int(rng.integers(0, rows - first + 1)) if rng.random() < 0.5 else rows - first
        x = rng.standard_normal((batch, cols), np.float32)
        w = (rng.standard_normal((rows, cols)) * 0.05 * np.exp2(rng.uniform(-12, 0, (rows, cols)))).astype(dtype)  # subnormal ones too
        y = np.full((batch, rows), 7, np.float32)
        return {"x": x, "w": w, "y": y, "batch": batch, "rows": rows, "cols": cols, "first": first, "count": count}

    return case(rtol=1e-5, atol=1e-5)(make)


def rows_of(dtype):
    def make(rng, size):
        _, rows, cols = SHAPES[size]
        index = rng.integers(0, rows, 2 * rows, np.uint32)
        w = rng.standard_normal((rows, cols)).astype(dtype)
        return {"w": w, "index": index, "y": np.zeros((len(index), cols), np.float32), "n": len(index), "rows": rows, "cols": cols}

    return case()(make)


linear_f32, linear_f16 = linear(np.float32), linear(np.float16)
rows_f32, rows_f16 = rows_of(np.float32), rows_of(np.float16)
