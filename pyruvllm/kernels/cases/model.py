"""Tolerances: float32's half step is 6e-8 of a number, and sums of n numbers of one sign are off by a few of them, those of both signs
by a few of the largest term, which is what atol is for."""

import numpy as np

from . import case


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


@case(rtol=1e-6)
def rms_norm(rng, size):
    rows, dim = ((2, rng.integers(1, 9)), (3, 67), (5, 1024))[size]
    x = normal(rng, rows, dim) * np.float32((1, 1e-4, 1e15)[rng.integers(3)])
    x[0] = 0
    return {"x": x, "w": normal(rng, dim), "y": np.zeros_like(x), "rows": rows, "dim": int(dim), "eps": 1e-5}


@case(rtol=2e-6, atol=1e-5)
def layer_norm(rng, size):
    rows, dim = ((2, rng.integers(2, 9)), (3, 67), (4, 384))[size]
    x = normal(rng, rows, dim) + np.float32(rng.integers(3))
    x[0] = 0
    return {"x": x, "w": normal(rng, dim), "b": normal(rng, dim), "y": np.zeros_like(x), "rows": rows, "dim": int(dim), "eps": 1e-5}


@case(rtol=5e-7, atol=1e-6)
def rotary(rng, size):
    tokens, heads, dim = ((2, 1, 10), (3, 2, 70), (4, 24, 64))[size]
    rot = (2 * int(rng.integers(0, 6)), 66, 64)[size]
    return {
        "x": normal(rng, tokens, heads, dim),
        "positions": rng.integers(-100, (10, 100_000, 1_000_000)[size], tokens).astype(np.int32),
        "frequencies": (1e6 ** (-np.arange(0, rot, 2) / max(rot, 1))).astype(np.float32),
        "tokens": tokens,
        "heads": heads,
        "dim": dim,
        "rot": rot,
        "interleaved": int(rng.integers(2)),
    }


@case(rtol=5e-7, atol=2e-6)
def short_conv(rng, size):
    tokens, channels, kernel = ((int(rng.integers(3)), 3, int(rng.integers(1, 5))), (7, 21, int(rng.integers(2, 9))), (20, 1024, 3))[size]
    return {
        "state": normal(rng, kernel - 1, channels),
        "x": normal(rng, tokens, channels),
        "w": normal(rng, channels, kernel),
        "y": np.zeros((tokens, channels), np.float32),
        "history": np.zeros((kernel - 1 + tokens, channels), np.float32) if rng.integers(2) else None,
        "tokens": tokens,
        "channels": channels,
        "kernel": kernel,
    }


@case(rtol=1e-6, atol=8e-6)
def lfm2_conv(rng, size):
    given = short_conv(rng, size)
    given["bcx"] = normal(rng, given["tokens"], 3 * given["channels"])
    del given["x"]
    return given
