"""Arrays that grow and are cut down, in memory that an accelerator can see where there is one."""

from collections.abc import Callable
from typing import Any

import numpy as np

Empty = Callable[[Any, Any], np.ndarray]  # (shape, dtype) to an array of any content: np.empty, or an accelerator's


def grown(empty: Empty, array: np.ndarray, length: int, fill: int) -> np.ndarray:
    """The array (n, ...) with at least `length` rows, the new ones `fill`; half as much again, so that growing is seldom."""
    if length <= len(array):
        return array
    larger = empty((max(length, len(array) * 3 // 2), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    larger[len(array) :] = fill
    return larger


def shortened(empty: Empty, array: np.ndarray, length: int) -> np.ndarray:
    """The first `length` rows of an array (n, ...), without the memory of the others."""
    if length == len(array):
        return array
    shorter = empty((length, *array.shape[1:]), array.dtype)
    shorter[...] = array[:length]
    return shorter


def placed(empty: Empty, array: np.ndarray) -> np.ndarray:
    """The array, where `empty` allocates."""
    if empty is np.empty:
        return array
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy
