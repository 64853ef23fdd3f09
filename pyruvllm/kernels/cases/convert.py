import numpy as np

from . import case

EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.996, 65520, 6e-8, 3e-8, 2.9e-8, 6.1e-5, 6.0975e-5, 1 + 2**-11, 1 + 3 * 2**-11]


@case()
def widen(rng, size):
    n = (5, 1025, 65536)[size]
    bits = np.arange(n) if size == 2 else rng.integers(0, 65536, n)
    return {"x": bits.astype(np.uint16).view(np.float16), "y": np.zeros(n, np.float32), "n": n}


@case()
def narrow(rng, size):
    n = (len(EDGES), 1025, 70_001)[size]
    x = np.array(EDGES, np.float32) if size == 0 else rng.integers(0, 2**32, n, np.uint32).view(np.float32)
    if size == 1:
        x = np.exp2(rng.uniform(-28, 17, n)).astype(np.float32)
    return {"x": x, "y": np.zeros(n, np.float16), "n": n}
