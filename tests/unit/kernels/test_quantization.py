import numpy as np
import pytest

from pyruvllm.errors import OperandError
from pyruvllm.kernels.quantization import gptq, quantize
from pyruvllm.kernels.reference import blocks

ROWS, COLS = 96, 512


@pytest.fixture(scope="module")
def layer():
    """(weights, calibration, held-out samples): heavy tails; activations that hang together, a few columns twenty times as large."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((COLS // 4, COLS)) / np.sqrt(COLS // 4)
    sizes = np.exp(rng.normal(0, 0.5, COLS))
    sizes[rng.choice(COLS, 5, replace=False)] *= 20

    def samples(n):
        return ((rng.standard_normal((n, len(mixing))) @ mixing + 0.3 * rng.standard_normal((n, COLS))) * sizes).astype(np.float32)

    return (rng.standard_t(5, (ROWS, COLS)) * 0.02).astype(np.float32), samples(1024), samples(512)


@pytest.fixture(scope="module")
def made(layer):
    weights, calibration, _ = layer
    cache = {}

    def once(method, kind):
        if (method, kind) not in cache:
            cache[method, kind] = quantize(weights, kind, method, calibration)
        return cache[method, kind]

    return once


def error(x, weights, matrix):
    return np.linalg.norm(x @ (weights - matrix.dequantize()).T) / np.linalg.norm(x @ weights.T)


# What is left of round-to-nearest's error in the output. Measured: gptq 0.28 to 0.48, awq 0.42 to 0.53.
@pytest.mark.parametrize(("method", "share"), [("gptq", 0.55), ("awq", 0.65)])
@pytest.mark.parametrize("kind", ["q4_0", "q4_k", "q6_k", "q8_0"])
@pytest.mark.parametrize("samples", ["calibration", "held out"])
def test_calibrated_methods_beat_round_to_nearest(layer, made, method, share, kind, samples):
    weights, x = layer[0], layer[1 if samples == "calibration" else 2]
    assert error(x, weights, made(method, kind)) < share * error(x, weights, made("rtn", kind))


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
@pytest.mark.parametrize("kind", list(blocks.BLOCKS))
def test_the_result_is_ordinary_blocks(made, method, kind):
    matrix = made(method, kind)
    assert matrix.blocks.dtype == np.uint8
    assert matrix.blocks.shape == (ROWS, blocks.row_bytes(kind, COLS))
    assert (matrix.input_scale is None) == (method != "awq")


def test_gptq_beats_round_to_nearest_from_fewer_samples_than_columns(layer, made):
    weights, calibration, held_out = layer
    matrix = quantize(weights, "q4_0", "gptq", calibration[:200])
    assert error(held_out, weights, matrix) < 0.6 * error(held_out, weights, made("rtn", "q4_0"))


def test_gptq_of_columns_that_do_not_hang_together_is_near_to_rounding():
    rng = np.random.default_rng(1)
    weights, x = rng.standard_normal((8, 64)).astype(np.float32), np.eye(64, dtype=np.float32)
    matrix = quantize(weights, "q8_0", "gptq", x)
    apart = np.abs(matrix.dequantize() - quantize(weights, "q8_0").dequantize())
    assert (apart > 0.01).mean() < 0.01  # where the scale's float16 moved a value over the middle between two levels
    assert apart.max() < np.abs(weights).max() / 127 * 1.1


def test_the_factor_is_that_of_the_inverse():
    x = np.random.default_rng(2).standard_normal((300, 150)).astype(np.float32)
    h = 2 * (x.T @ x).astype(np.float64)
    h[np.diag_indices(150)] += gptq.DAMPING * np.diag(h).mean()
    factor = gptq.inverse_factor(x).astype(np.float64)
    assert np.array_equal(factor, np.triu(factor))
    assert np.allclose(factor.T @ factor @ h, np.eye(150), atol=1e-4)


def test_columns_that_calibration_never_saw_are_rounded_as_they_are(layer):
    weights, calibration = layer[0], layer[1].copy()
    calibration[:, 100:140] = 0
    for method in ("gptq", "awq"):
        lost = np.abs(quantize(weights, "q8_0", method, calibration).dequantize() - weights)[:, 100:140]
        assert np.isfinite(lost).all()
        assert lost.max() < 0.02 * np.abs(weights).max() * (1 if method == "gptq" else 50)


def test_the_scale_of_the_input_folds_into_the_norm_before(layer, made):
    weights, x, _ = layer
    matrix = made("awq", "q4_k")
    norm = np.linspace(0.5, 2, COLS).astype(np.float32)
    stored = blocks.dequantize("q4_k", matrix.blocks, matrix.shape)
    assert np.allclose((x * matrix.folded(norm)) @ stored.T, (x * norm) @ matrix.dequantize().T, rtol=1e-3, atol=1e-2)
    with pytest.raises(OperandError, match="512 weights"):
        matrix.folded(norm[:-1])


def test_progress_is_told_and_can_end_the_job(layer):
    for method in ("gptq", "awq"):
        told = []
        quantize(layer[0][:4], "q4_0", method, layer[1], progress=lambda done, total, told=told: told.append((done, total)))
        assert [done for done, _ in told] == sorted({done for done, _ in told})
        assert all(done <= total for done, total in told)

        def stop(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            quantize(layer[0][:4], "q4_0", method, layer[1], progress=stop)


@pytest.mark.parametrize("method", ["gptq", "awq"])
@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        (None, "needs calibration"),
        (np.ones((5, 64)), r"\(samples, 512\)"),
        (np.ones((0, 512)), r"\(samples, 512\)"),
        (np.zeros((5, 512)), "all zero"),
        (np.full((5, 512), np.nan), "NaN"),
    ],
)
def test_calibration_that_does_not_fit_is_refused(layer, method, calibration, said):
    with pytest.raises(OperandError, match=said):
        quantize(layer[0], "q4_0", method, calibration)


def test_weights_that_cannot_be_quantised_are_refused(layer):
    weights = layer[0].copy()
    weights[3, 3] = np.nan
    with pytest.raises(OperandError, match="weights hold NaN"):
        quantize(weights, "q4_0")
    with pytest.raises(OperandError, match="a row of 384"):
        quantize(layer[0][:, :384], "q4_k")
    with pytest.raises(OperandError, match=r"not of shape \(512,\)"):
        quantize(layer[0][0], "q4_0")
    with pytest.raises(OperandError, match="squeeze"):
        quantize(layer[0], "q4_0", "squeeze")
