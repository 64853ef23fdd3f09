import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import OperandError
from pyruvllm.kernels.reference import blocks
from pyruvllm.kernels.registry import KernelRegistry
from pyruvllm.kernels.weights import LAID, PLAIN, Weights

KINDS = [*PLAIN, *LAID]


@pytest.fixture(scope="module")
def kernels(library):
    return KernelRegistry(library)


def file_of(rng, kind, rows, cols):
    """What a GGUF file holds of a random matrix."""
    values = (rng.standard_normal((rows, cols)) * 0.05).astype(np.float32)
    return values.astype(PLAIN[kind]).view(np.uint8) if kind in PLAIN else blocks.quantize(kind, values)


def meant(kind, data, rows, cols):
    """The numbers a file stands for."""
    return data.view(PLAIN[kind]).astype(np.float32) if kind in PLAIN else blocks.dequantize(kind, data, (rows, cols))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 4, 7, 34])
def test_repacking_loses_nothing(kernels, kind, rows):
    data = file_of(np.random.default_rng(rows), kind, rows, 512)
    for given_as in (data, data.tobytes(), memoryview(data.tobytes())):
        weights = Weights(kernels, kind, (rows, 512), given_as)
        np.testing.assert_allclose(weights.dequantised(), meant(kind, data, rows, 512), rtol=2e-7, atol=1e-8)


@pytest.mark.parametrize("kind", LAID)
def test_any_bytes_of_a_file_are_placed(library, kind):
    # Levels, scales and minima of any bits; float16 scales are moderate, so that values can be compared.
    from pyruvllm.kernels.cases.linear_q import laid, packed

    for name in library.names(f"repack_{kind}"):
        data = packed(np.random.default_rng(5), kind, 9, 512)
        w, y, index = laid(kind, 9, 512), np.zeros((9, 512), np.float32), np.arange(9, dtype=np.uint32)
        library.kernel(f"repack_{kind}", name)(blocks=data, w=w, rows=9, cols=512)
        library.kernel(f"rows_{kind}", name.replace("repack", "rows"))(w=w, index=index, y=y, n=9, rows=9, cols=512)
        np.testing.assert_allclose(y, blocks.dequantize(kind, data, (9, 512)), rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["q4_0", "q8_0"])
def test_every_scale_below_128_is_kept_and_others_are_refused(library, kind):
    from pyruvllm.kernels.cases.linear_q import laid, packed

    bits = np.arange(1 << 16, dtype=np.uint16)
    for name in library.names(f"repack_{kind}"):
        repack, rows_of = library.kernel(f"repack_{kind}", name), library.kernel(f"rows_{kind}", name.replace("repack", "rows"))
        below = bits[(bits & 0x7FFF) < np.float16(128).view(np.uint16)]
        data = packed(np.random.default_rng(6), kind, len(below), 32).reshape(len(below), -1)
        data[:, :2] = below.reshape(-1, 1).view(np.uint8)
        w, y, index = laid(kind, len(below), 32), np.zeros((len(below), 32), np.float32), np.arange(len(below), dtype=np.uint32)
        repack(blocks=data.reshape(-1), w=w, rows=len(below), cols=32)
        rows_of(w=w, index=index, y=y, n=len(below), rows=len(below), cols=32)
        np.testing.assert_array_equal(y, blocks.dequantize(kind, data, (len(below), 32)))
        for wrong in (128.0, -65504.0, np.inf, np.nan):
            data[5, :2] = np.array([wrong], np.float16).view(np.uint8)
            with pytest.raises(OperandError, match="blocks holds"):
                repack(blocks=data.reshape(-1), w=w, rows=len(below), cols=32)


@pytest.mark.parametrize("kind", LAID)
def test_rounding_activations_costs_less_than_a_hundredth(kernels, kind):
    rng = np.random.default_rng(3)
    weights = Weights(kernels, kind, (130, 1024), file_of(rng, kind, 130, 1024))
    x, y = rng.standard_normal((5, 1024), np.float32), np.zeros((5, 130), np.float32)
    weights.bind(x, y)()
    exact = x.astype(np.float64) @ weights.dequantised().astype(np.float64).T
    # A step of a block is max / 127, some 1/50 of its deviation; an error of uniform +- half a step has deviation step / sqrt(12).
    assert np.linalg.norm(y - exact) < 0.01 * np.linalg.norm(exact)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(batch=st.integers(0, 9), rows=st.integers(0, 21), parts=st.lists(st.integers(0, 5), max_size=4), seed=st.integers(0, 99))
def test_parts_of_the_rows_make_the_whole(kernels, kind, batch, rows, parts, seed):
    rng = np.random.default_rng(seed)
    weights = Weights(kernels, kind, (rows, 256), file_of(rng, kind, rows, 256))
    x = rng.standard_normal((batch, 256), np.float32)
    whole, pieces = np.zeros((batch, rows), np.float32), np.full((batch, rows), np.nan, np.float32)
    weights.bind(x, whole)()
    borders = sorted({0, rows, *(min(4 * part, rows) for part in parts)})
    for first, end in zip(borders, borders[1:], strict=False):
        weights.bind(x, pieces, first, end - first)()
    np.testing.assert_allclose(pieces, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_column_of_a_batch_is_what_it_is_alone(library, kind):
    rng = np.random.default_rng(1)
    registry = KernelRegistry(library)
    weights = Weights.of(registry, rng.standard_normal((18, 512)), kind)
    x, together = rng.standard_normal((7, 512), np.float32), np.zeros((7, 18), np.float32)
    call = weights.bind(x, together)
    call()
    for column, expected in zip(x, together, strict=True):
        alone = np.zeros(18, np.float32)
        weights.bind(column, alone)()
        np.testing.assert_allclose(alone, expected, rtol=1e-4, atol=1e-4)
    together[:] = 0
    call.set(batch=3)
    call()
    assert together[:3].any() and not together[3:].any()


@pytest.mark.parametrize("kind", LAID)
def test_activations_of_any_size_are_met(kernels, kind):
    weights = Weights(kernels, kind, (6, 256), file_of(np.random.default_rng(2), kind, 6, 256))
    y = np.zeros((1, 6), np.float32)
    for scale in (1e-44, 1e-38, 1e-20, 1e20, 1e30):
        x = (np.sin(np.arange(256)) * scale).astype(np.float32)
        weights.bind(x, y)()
        exact = x.astype(np.float64) @ weights.dequantised().T
        np.testing.assert_allclose(y[0], exact, rtol=0, atol=max(0.05 * np.abs(exact).max(), 1e-28))
    for wrong in (np.nan, np.inf):
        weights.bind(np.full(256, wrong, np.float32), y)()
        assert not np.isfinite(y).any()  # and nothing traps


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_is_no_row_is_refused(kernels, library, kind):
    weights = Weights(kernels, kind, (5, 256), file_of(np.random.default_rng(2), kind, 5, 256))
    for name in library.names(f"rows_{kind}"):
        for wrong in (5, 2**32 - 1):
            index, y = np.array([4, wrong], np.uint32), np.zeros((2, 256), np.float32)
            with pytest.raises(OperandError, match="index"):
                library.kernel(f"rows_{kind}", name)(w=weights.w, index=index, y=y, n=2, rows=5, cols=256)
    y = np.zeros((2, 256), np.float32)
    weights.bind_rows(np.array([3, 0], np.uint32), y)()
    np.testing.assert_array_equal(y, weights.dequantised()[[3, 0]])


def test_weights_that_do_not_fit_are_refused(kernels):
    with pytest.raises(OperandError, match="q5_0"):
        Weights(kernels, "q5_0", (1, 32), b"")
    with pytest.raises(OperandError, match="90 bytes, not 91"):
        Weights(kernels, "q4_0", (5, 32), bytes(91))
    with pytest.raises(OperandError, match="whole number"):
        Weights(kernels, "q4_k", (1, 128), bytes(72))
    with pytest.raises(OperandError, match="infinite"):
        Weights.of(kernels, np.array([[1.0, 70_000.0]]), "f16")
    weights = Weights.of(kernels, np.ones((8, 32)), "q8_0")
    assert weights.operation == "linear_q8_0" and weights.nbytes == 2 * 136
    with pytest.raises(OperandError, match=r"x \(33,\)"):
        weights.bind(np.zeros(33, np.float32), np.zeros(8, np.float32))
    with pytest.raises(OperandError, match="first % 4 == 0"):
        weights.bind(np.zeros(32, np.float32), np.zeros(8, np.float32), 2, 2)()
