"""From the model's 384 numbers to the 768 that everything else works with, without changing a single angle.

The map is half the columns of a Hadamard matrix of order 768: orthogonal columns of +1 and -1, divided by sqrt(768). It keeps lengths
and cosines exactly, spreads each number over all 768, and is made without a random generator, so every host makes the same one.
As a Kronecker product (12 x 64) it is applied in two small products instead of one large.
"""

from functools import cache

import numpy as np

from ..config import DIMENSION

PALEY_PRIME = 11
OUTER, INNER = PALEY_PRIME + 1, 64  # 12 x 64 = 768


def project(vectors: np.ndarray) -> np.ndarray:
    """(n, 384) float32 -> (n, 768) float32. Any width that is a multiple of 64 up to 768 is mapped so."""
    n, width = vectors.shape
    blocks = np.asarray(vectors, np.float32).reshape(n, width // INNER, INNER) @ sylvester()  # (n, 6, 64)
    spread = paley()[:, : width // INNER] @ blocks  # (12, 6) @ (n, 6, 64) -> (n, 12, 64)
    return spread.reshape(n, DIMENSION) * np.float32(DIMENSION**-0.5)


@cache
def sylvester() -> np.ndarray:
    """(64, 64) float32, symmetric: the Hadamard matrix of order 64 by doubling."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < INNER:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


@cache
def paley() -> np.ndarray:
    """(12, 12) float32: Paley's first construction, from the squares modulo 11."""
    squares = {i * i % PALEY_PRIME for i in range(1, PALEY_PRIME)}
    matrix = np.ones((OUTER, OUTER), np.float32)
    matrix[1:, 0] = -1
    for row in range(PALEY_PRIME):
        for column in range(PALEY_PRIME):
            difference = (row - column) % PALEY_PRIME
            matrix[row + 1, column + 1] = 1 if difference == 0 or difference in squares else -1
    return matrix
