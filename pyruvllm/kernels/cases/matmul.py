import numpy as np

from . import case


@case(rtol=1e-5, atol=5e-4)  # of sums of up to 600 products; Strassen's errors are some times those of the others
def matmul(rng, size):
    # The third has one level of Strassen's recursion, odd on all sides.
    m, k, n = ([int(each) for each in rng.integers(0, 10, 3)], (37, 300, 45), (515, 521, 513))[size]
    return {
        "a": rng.standard_normal((m, k), np.float32),
        "b": rng.standard_normal((k, n), np.float32),
        "c": np.full((m, n), 7, np.float32),
        "m": m,
        "k": k,
        "n": n,
    }


@case(rtol=1e-5, atol=5e-5)
def matvec(rng, size):
    rows, cols = ([int(each) for each in rng.integers(0, 14, 2)], (23, 70), (513, 1024))[size]
    w, x = rng.standard_normal((rows, cols), np.float32), rng.standard_normal(cols, np.float32)
    return {"w": w, "x": x, "y": np.full(rows, 7, np.float32), "rows": rows, "cols": cols}
