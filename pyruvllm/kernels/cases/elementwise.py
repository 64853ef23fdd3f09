"""The tolerances are what math.h states, with the rounding of the result: float32's half step is 6e-8 of a number."""

import numpy as np

from . import case

EDGES = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e-45, 88.7, 88.73, -87.3, -87.4, -100, 1e5, -1e5, 3e38, -3e38, np.inf, np.nan]
COUNT = (len(EDGES) + 1, 1023, 4608)


def numbers(rng: np.random.Generator, size: int, scale: float = 5) -> np.ndarray:
    n = COUNT[size]
    return np.array([*EDGES, scale], np.float32) if size == 0 else (rng.standard_normal(n) * scale).astype(np.float32)


def mapped(x: np.ndarray) -> dict:
    return {"x": x, "y": np.zeros(len(x), np.float32), "n": len(x)}


def updated(rng: np.random.Generator, size: int) -> dict:
    n = (7, 1023, 4608)[size]
    return {"x": rng.standard_normal(n, np.float32), "y": rng.standard_normal(n, np.float32), "n": n}


@case(rtol=1.5e-7, atol=1e-37)  # what is 0 below 2^-126 may be decided either way at that number
def exp(rng, size):
    return mapped(numbers(rng, size, 30))


@case(rtol=1.5e-7)
def log(rng, size):
    x = numbers(rng, size)
    return mapped(x if size == 0 else np.exp(np.abs(x)) - (size == 1) * np.float32(0.999))


@case(rtol=2.5e-7)
def tanh(rng, size):
    return mapped(numbers(rng, size, (1, 1, 0.1)[size]))


@case(rtol=2.5e-7, atol=1e-37)
def sigmoid(rng, size):
    return mapped(numbers(rng, size, 30))


@case(rtol=2.5e-7, atol=1e-35)  # 100 times what sigmoid gives up
def silu(rng, size):
    return mapped(numbers(rng, size, 10))


@case(rtol=2e-7, atol=5e-7)
def gelu(rng, size):
    return mapped(numbers(rng, size, 3))


@case(atol=2e-7)
def sin(rng, size):
    return mapped(numbers(rng, size, (1, 1e5, 1e9 / 6)[size]))


@case(atol=2e-7)
def cos(rng, size):
    return mapped(numbers(rng, size, (1, 1e5, 1e9 / 6)[size]))


@case()
def add(rng, size):
    return updated(rng, size)


@case(rtol=2e-7, atol=3e-7)  # two roundings, the product's of up to 5 x 0.7
def scale_add(rng, size):
    return {**updated(rng, size), "scale": 0.7}


@case()
def multiply(rng, size):
    return updated(rng, size)


@case(rtol=4e-7, atol=1e-35)
def swiglu(rng, size):
    n = (7, 1023, 4608)[size]
    gate, up = (rng.standard_normal((2, n)) * 4).astype(np.float32)
    return {"gate": gate, "up": up, "y": np.zeros(n, np.float32), "n": n}
