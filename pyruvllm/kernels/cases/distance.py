import numpy as np

from . import case


@case(rtol=1e-5, atol=1e-4)
def dot(rng, size):
    n, dim = ((3, 5), (17, 70), (64, 768))[size]
    return {
        "query": rng.standard_normal(dim, np.float32),
        "rows": rng.standard_normal((n, dim), np.float32),
        "scores": np.zeros(n, np.float32),
        "n": n,
        "dim": dim,
    }
