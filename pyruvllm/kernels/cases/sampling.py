import numpy as np

from . import case


def logits(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """With a row of -infinity only, one with NaN, one with +infinity and one with some -infinity, where there are so many."""
    x = (rng.standard_normal((rows, n)) * rng.choice([1, 10, 1e30])).astype(np.float32)
    if n:
        x[1:2] = -np.inf
        x[2:3, rng.integers(n)] = np.nan
        x[3:4, rng.integers(n)] = np.inf
        x[4:5, rng.random(n) < 0.5] = -np.inf
    return x


@case(rtol=2e-5, atol=1e-37)  # an exponent of up to 87, rounded twice, is off by 87 x 1.2e-7; below 2^-126 is 0
def softmax(rng, size):
    rows, n = ((6, int(rng.integers(0, 7))), (5, 1027), (1, 65536))[size]
    x = logits(rng, rows, n)
    return {"x": x, "y": np.zeros_like(x), "rows": rows, "n": n, "scale": float(rng.choice([1, 0.3, 2.5]))}


@case(rtol=2e-7, atol=2e-6)  # two roundings; ln of a sum that is off by 1e-6
def log_softmax(rng, size):
    return softmax.make(rng, size)


@case()
def argmax(rng, size):
    rows, n = ((7, int(rng.integers(1, 9))), (6, 1027), (1, 65536))[size]
    x = logits(rng, rows, n)
    x[5:6, :] = np.nan
    x[6:7, :] = rng.integers(-1, 1, n) * np.float32(0)
    return {"x": x, "indices": np.zeros(rows, np.uint32), "rows": rows, "n": n}


@case()
def topk(rng, size):
    """Random, ascending and descending numbers, few different ones, and many NaN or -infinity."""
    n = (int(rng.integers(1, 40)), int(rng.integers(1000, 9000)), 65536)[size]
    k = (int(rng.integers(0, n + 1)), int(rng.integers(0, n + 1)), int(rng.choice([1, 40, 256])))[size]
    x = rng.standard_normal(n, np.float32)
    match rng.integers(6):
        case 1:
            x.sort()
        case 2:
            x[:] = np.sort(x)[::-1]
        case 3:
            x = (rng.integers(-2, 3, n) * np.float32(-1)).astype(np.float32)
        case 4:
            x[rng.random(n) < 0.9] = np.nan
        case 5:
            x[rng.random(n) < 0.99] = -np.inf
    return {"x": x, "values": np.zeros(k, np.float32), "indices": np.zeros(k, np.uint32), "n": n, "k": k}
