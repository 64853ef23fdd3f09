import numpy as np
import pytest

from pyruvllm.errors import OperandError
from pyruvllm.kernels.quantization.formats import CompiledFormats
from pyruvllm.kernels.reference import blocks

KINDS = list(blocks.BLOCKS)


@pytest.fixture(scope="module", params=KINDS)
def kernels(request, library):
    operation = f"quantize_{request.param}"
    return request.param, [library.kernel(operation, name) for name in library.names(operation)]


def arguments(kind, values):
    given = {"x": values, "blocks": np.zeros((len(values), blocks.row_bytes(kind, values.shape[1])), np.uint8)}
    given |= {"rows": values.shape[0], "cols": values.shape[1]}
    return given | ({"importance": None} if kind.endswith("_k") else {})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65520.0])
@pytest.mark.parametrize("at", [0, 37, 511])
def test_what_float16_does_not_reach_is_refused_by_every_kernel(kernels, value, at):
    kind, each = kernels
    values = np.ones((1, 512), np.float32)
    values[0, at] = value
    for kernel in each:
        with pytest.raises(OperandError, match=f"quantize_{kind}: x holds"):
            kernel(**arguments(kind, values))


@pytest.mark.parametrize("kind", ["q4_k", "q6_k"])
@pytest.mark.parametrize("value", [np.nan, -1.0, 2e6])
def test_importance_that_cannot_be_is_refused_by_every_kernel(library, kind, value):
    importance = np.ones(256, np.float32)
    importance[255] = value
    for name in library.names(f"quantize_{kind}"):
        with pytest.raises(OperandError, match="importance"):
            library.kernel(f"quantize_{kind}", name)(**arguments(kind, np.ones((2, 256), np.float32)) | {"importance": importance})


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_and_numpy_formats_give_the_same_bytes(library, kind):
    compiled = CompiledFormats(library)
    values = np.random.default_rng(0).standard_t(3, (70, 768)).astype(np.float32)
    importance = np.random.default_rng(1).exponential(1, 768).astype(np.float32)
    made = compiled.quantize(kind, values, importance)
    assert np.array_equal(made, blocks.quantize(kind, values, importance))
    assert np.array_equal(compiled.dequantize(kind, made, values.shape), blocks.dequantize(kind, made, values.shape))


def test_columns_that_are_no_whole_blocks_are_refused(kernels):
    kind, each = kernels
    given = {"x": np.zeros((1, 48), np.float32), "blocks": np.zeros(999, np.uint8), "rows": 1, "cols": 48}
    for kernel in each:
        with pytest.raises(OperandError, match="cols %"):
            kernel(**given | ({"importance": None} if kind.endswith("_k") else {}))
