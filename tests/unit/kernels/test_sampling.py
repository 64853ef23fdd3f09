import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import OperandError


def each(library, operation: str) -> list:
    return [library.kernel(operation, name) for name in library.names(operation)]


def largest(kernel, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    values, indices = np.zeros(k, np.float32), np.zeros(k, np.uint32)
    kernel(x=x, values=values, indices=indices, n=len(x), k=k)
    return values, indices


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 5.5, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38]), min_size=1, max_size=80),
    st.data(),
)
def test_topk_is_sorting_with_the_earlier_of_equals_first(library, numbers, data):
    k = data.draw(st.integers(0, len(numbers)))
    x = np.array(numbers, np.float32)
    order = sorted(range(len(x)), key=lambda at: (np.isnan(x[at]), 0.0 if np.isnan(x[at]) else -float(x[at]), at))[:k]
    for kernel in each(library, "topk"):
        values, indices = largest(kernel, x, k)
        assert indices.tolist() == order, kernel.name
        np.testing.assert_array_equal(values, x[order])


@pytest.mark.parametrize("k", [1, 2, 40, 1500, 65536])
def test_topk_in_orders_that_are_hard_for_a_threshold(library, k):
    n = 65536
    up = np.arange(n, dtype=np.float32)
    few = np.where(up < n - 50, np.float32(np.nan), up)
    for x in (up, up[::-1].copy(), np.concatenate([up[::2], up[::-2]]), np.zeros(n, np.float32), few):
        wanted = largest(library.kernel("topk", "reference"), x, k)
        for kernel in each(library, "topk"):
            found = largest(kernel, x, k)
            np.testing.assert_array_equal(found[1], wanted[1], kernel.name)
            np.testing.assert_array_equal(found[0], wanted[0], kernel.name)


def test_topk_of_more_than_there_are_is_refused(library):
    for kernel in each(library, "topk"):
        with pytest.raises(OperandError, match="topk needs k <= n"):
            kernel(x=np.zeros(9, np.float32), values=np.zeros(9, np.float32), indices=np.zeros(9, np.uint32), n=5, k=6)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("operation", ["softmax", "log_softmax"])
def test_a_temperature_that_cannot_be_is_refused(library, operation, scale):
    x = np.ones((1, 8), np.float32)
    for kernel in each(library, operation):
        y = np.full_like(x, 7)
        with pytest.raises(OperandError, match="scale holds a value that cannot be"):
            kernel(x=x, y=y, rows=1, n=8, scale=scale)
        assert (y == 7).all()


def test_softmax_sums_to_one_and_is_the_exponential_of_log_softmax(library):
    x = np.random.default_rng(3).standard_normal((3, 70_001), np.float32) * np.float32([[1], [20], [1e4]])
    for softmax, log_softmax in zip(each(library, "softmax"), each(library, "log_softmax"), strict=True):
        y, logs = np.zeros_like(x), np.zeros_like(x)
        softmax(x=x, y=y, rows=3, n=70_001, scale=1.0)
        log_softmax(x=x, y=logs, rows=3, n=70_001, scale=1.0)
        np.testing.assert_allclose(y.astype(float).sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(np.exp(logs.astype(float)), y, rtol=1e-4, atol=1e-37)
        in_place = x.copy()
        softmax(x=in_place, y=in_place, rows=3, n=70_001, scale=1.0)
        np.testing.assert_array_equal(in_place, y)
