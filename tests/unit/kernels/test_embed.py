"""Embedding tables where the shared contract does not look: bad tokens and offsets, and means against float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruvllm.errors import OperandError
from pyruvllm.kernels import cases

KINDS = ("f32", "f16", "i8")


def each(library, operation):
    return [library.kernel(operation, name) for name in library.names(operation)]


@pytest.mark.parametrize("operation", [f"{name}_{kind}" for name in ("lookup", "static_embed") for kind in KINDS])
@pytest.mark.parametrize("bad", [-1, 50, 2**31 - 1])
def test_tokens_outside_the_table_are_refused_and_nothing_is_written(library, operation, bad):
    for kernel in each(library, operation):
        values = cases.of(kernel.operation)(np.random.default_rng(0), 1)
        result = values.get("rows", values.get("vectors"))
        before = result.copy()
        values["tokens"][-1] = bad
        with pytest.raises(OperandError, match=f"{operation}: tokens holds an index"):
            kernel(**values)
        assert (result == before).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offsets", [[0, 3, 2], [0, 2, 34], [5, 4, 4], [0, 0, 2**32 - 1]])
def test_texts_that_do_not_follow_each_other_are_refused(library, kind, offsets):
    for kernel in each(library, f"static_embed_{kind}"):
        values = cases.of(kernel.operation)(np.random.default_rng(0), 1)
        before = values["vectors"].copy()
        with pytest.raises(OperandError, match="offsets holds an index"):
            kernel(**{**values, "offsets": np.array(offsets, np.uint32), "texts": 2})
        assert (values["vectors"] == before).all()


@given(st.integers(0, 999), st.lists(st.integers(0, 11), max_size=6), st.integers(1, 21), st.booleans(), st.booleans())
def test_a_text_is_the_mean_of_its_weighted_tokens(library, seed, lengths, dim, weighted, normalise):
    random = np.random.default_rng(seed)
    table = random.integers(-128, 128, (30, dim), np.int8)
    scales = random.uniform(0.01, 0.1, 30).astype(np.float32)
    weights = random.uniform(0, 3, 30).astype(np.float32)
    tokens = random.integers(0, 30, sum(lengths)).astype(np.int32)
    offsets = np.cumsum([0, *lengths]).astype(np.uint32)
    exact = table * scales[:, None].astype(np.float64)
    given = {"weights": weights if weighted else None, "tokens": tokens, "offsets": offsets, "texts": len(lengths), "dim": dim}
    given |= {"vocab": 30, "n": len(tokens), "normalise": int(normalise)}
    for kind, rows in (("f32", {"table": exact.astype(np.float32)}), ("i8", {"table": table, "scales": scales})):
        for kernel in each(library, f"static_embed_{kind}"):
            vectors = np.full((len(lengths), dim), np.nan, np.float32)
            kernel(**rows, **given, vectors=vectors)
            for vector, start, end in zip(vectors, offsets[:-1], offsets[1:], strict=True):
                chosen = tokens[start:end]
                by = weights[chosen] if weighted else np.ones(len(chosen))
                mean = (exact[chosen] * by[:, None]).sum(0) / max(len(chosen), 1)
                if normalise and mean.any():
                    mean /= np.linalg.norm(mean)
                assert np.allclose(vector, mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_tokens_or_without_direction_is_zero(library, kind):
    table = np.array([[1, -2, 3], [-1, 2, -3]], {"f32": np.float32, "f16": np.float16, "i8": np.int8}[kind])
    scales = {"scales": np.ones(2, np.float32)} if kind == "i8" else {}
    tokens, offsets = np.array([0, 1, 0], np.int32), np.array([0, 2, 2, 3], np.uint32)
    for kernel in each(library, f"static_embed_{kind}"):
        vectors = np.full((3, 3), 9, np.float32)
        given = {"table": table, **scales, "tokens": tokens, "offsets": offsets, "vectors": vectors}
        kernel(**given, vocab=2, n=3, texts=3, dim=3, normalise=1)
        assert not vectors[:2].any()
        assert vectors[2] == pytest.approx(np.array([1, -2, 3]) / np.sqrt(14))
