"""A random rotation that costs dims log dims: it spreads what a vector holds evenly over all components, whatever it was.

Rounds of random signs and a Walsh-Hadamard transform (Ailon and Chazelle 2009, the fast Johnson-Lindenstrauss transform). A transform
works on a power of two, the *window*: on the first components in one round, on the last in the next. Where dims is no power of two the
two windows overlap, which carries everything everywhere.
"""

import numpy as np

ROUNDS = 4


class Rotation:
    """Orthonormal, (n, dims) to (n, dims), the same for the same dims and seed.

    factors  (ROUNDS, dims) float32: what components are multiplied with before each round. They hold the signs, and the
             1 / sqrt(window) that makes each transform orthonormal
    window   components a transform works on
    """

    def __init__(self, dims: int, seed: int) -> None:
        self.dims = dims
        self.window = 1 << (dims.bit_length() - 1)
        self._starts = [0 if turn % 2 == 0 else dims - self.window for turn in range(ROUNDS)]
        bits = _hash(np.arange(ROUNDS * dims, dtype=np.uint64), seed) & np.uint64(1)
        self.factors = np.ones((ROUNDS, dims), np.float32)
        self.factors -= 2 * bits.reshape(ROUNDS, dims).astype(np.float32)
        for turn, start in enumerate(self._starts):
            self.factors[turn, start : start + self.window] /= np.sqrt(np.float32(self.window))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        rows = np.array(rows, np.float32, order="C")
        for factors, start in zip(self.factors, self._starts, strict=True):
            rows *= factors
            _transform(rows[:, start : start + self.window])
        return rows

    def back(self, rows: np.ndarray) -> np.ndarray:
        """The inverse. A transform without its factor is its own inverse times `window`."""
        rows = np.array(rows, np.float32, order="C")
        for factors, start in zip(self.factors[::-1], self._starts[::-1], strict=True):
            part = rows[:, start : start + self.window]
            _transform(part)
            part /= self.window
            rows /= factors
        return rows


def _transform(rows: np.ndarray) -> None:
    """The Walsh-Hadamard transform of each row (n, window), in place, without a factor."""
    half = 1
    while half < rows.shape[1]:
        pairs = rows.reshape(len(rows), rows.shape[1] // (2 * half), 2, half) if rows.flags.c_contiguous else _pairs(rows, half)
        upper = pairs[:, :, 0] - pairs[:, :, 1]
        pairs[:, :, 0] += pairs[:, :, 1]
        pairs[:, :, 1] = upper
        half *= 2


def _pairs(rows: np.ndarray, half: int) -> np.ndarray:
    """A view of some columns of a larger array as (n, pairs, 2, half)."""
    step, item = rows.strides
    shape = (len(rows), rows.shape[1] // (2 * half), 2, half)
    return np.lib.stride_tricks.as_strided(rows, shape, (step, 2 * half * item, half * item, item))


def _hash(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Random bits of numbers (n,) uint64, (n,) uint64: the finaliser of splitmix64."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)
