"""The accuracies that wasm_kernels/math.h states, on dense grids, in every build."""

from math import erf

import numpy as np
import pytest

COUNT = 200_001


def line(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, COUNT).astype(np.float32)


def decades(low: float, high: float) -> np.ndarray:
    return np.exp2(np.linspace(low, high, COUNT)).astype(np.float32)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def kernels(library, operation: str) -> list:
    return [library.kernel(operation, name) for name in library.names(operation) if name != "reference"]


def applied(kernel, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    kernel(x=x, y=y, n=len(x))
    return y.astype(np.float64)


RELATIVE = [
    ("exp", line(-87.3365, 88.722), np.exp, 1e-7),
    ("exp", decades(-40, 0), np.exp, 1e-7),
    ("log", decades(-126, 127.9), np.log, 1e-7),
    ("log", line(0.5, 2), np.log, 1e-7),
    ("log", decades(-149, -125), np.log, 1e-7),
    ("tanh", line(-12, 12), np.tanh, 2e-7),
    ("tanh", -decades(-100, 3), np.tanh, 2e-7),
    ("sigmoid", line(-87, 90), logistic, 2e-7),
    ("silu", line(-80, 90), lambda x: x * logistic(x), 2e-7),
]


@pytest.mark.parametrize(("operation", "x", "true", "bound"), RELATIVE)
def test_relative_error(library, operation, x, true, bound):
    wanted = true(x.astype(np.float64))
    assert kernels(library, operation)
    for kernel in kernels(library, operation):
        error = np.abs(applied(kernel, x) - wanted)
        assert (error <= bound * np.abs(wanted)).all(), f"{kernel.name}: {np.max(error / np.abs(wanted)):.3g}"


@pytest.mark.parametrize(("operation", "true"), [("sin", np.sin), ("cos", np.cos)])
@pytest.mark.parametrize(("reach", "bound"), [(4, 1e-7), (1e5, 1e-7), (1e6, 1e-7), (1e9, 1.5e-7)])
def test_sine_and_cosine_keep_their_absolute_error_far_out(library, operation, true, reach, bound):
    x = line(-reach, reach)
    for kernel in kernels(library, operation):
        assert np.abs(applied(kernel, x) - true(x.astype(np.float64))).max() <= bound, kernel.name


def test_gelu_is_the_one_with_erf(library):
    x = np.linspace(-12, 12, 20_001).astype(np.float32)
    wanted = [each / 2 * (1 + erf(each / 2**0.5)) for each in x.astype(float)]
    for kernel in kernels(library, "gelu"):
        assert np.abs(applied(kernel, x) - wanted).max() <= 5e-7, kernel.name


@pytest.mark.parametrize(
    ("operation", "x", "wanted"),
    [
        ("exp", [-np.inf, np.inf, 0.0, -0.0, 89, -88], [0, np.inf, 1, 1, np.inf, 0]),
        ("log", [0.0, -0.0, np.inf, -1, 1, -np.inf], [-np.inf, -np.inf, np.inf, np.nan, 0, np.nan]),
        ("tanh", [-np.inf, np.inf, 0.0, 20, -20, 1e-40], [-1, 1, 0, 1, -1, np.float32(1e-40)]),
        ("sigmoid", [-np.inf, np.inf, 0.0, 100, -100], [0, 1, 0.5, 1, 0]),
        ("sin", [0.0, np.inf, -np.inf, 1e38], [0, np.nan, np.nan, np.nan]),
        ("cos", [0.0, np.inf, -np.inf, 1e38], [1, np.nan, np.nan, np.nan]),
    ],
)
def test_the_ends_of_the_range(library, operation, x, wanted):
    for kernel in kernels(library, operation):
        np.testing.assert_array_equal(applied(kernel, np.array(x, np.float32)), wanted, kernel.name)


@pytest.mark.parametrize("operation", ["exp", "log", "tanh", "sigmoid", "silu", "gelu", "sin", "cos", "softmax"])
def test_nan_of_any_bits_gives_nan(library, operation):
    x = np.array([0x7FC00000, 0x7FC00001, 0xFFFFFFFF, 0x7F800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    for kernel in kernels(library, operation):
        y = np.zeros_like(x)
        kernel(x=x, y=y, n=len(x), **({"rows": 1, "scale": 1.0} if operation == "softmax" else {}))
        assert np.isnan(y).all(), kernel.name


def test_tanh_of_minus_zero_is_minus_zero(library):
    for kernel in kernels(library, "tanh"):
        assert np.signbit(applied(kernel, np.array([-0.0], np.float32)))[0], kernel.name
