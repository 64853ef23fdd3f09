"""Attention, dense and over pages: what the contract suite does not ask of each kernel by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import OperandError
from pyruvllm.kernels.cases import kv as cases

KINDS = list(cases.KINDS)
SHAPE = {"kv_heads": 2, "dim": 20, "page": 16}
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", params=["compiled", "reference"])
def run(request, library):
    """run(operation, **arguments), by the first compiled kernel or by the twin."""

    def run(operation, kernel=None, **values):
        names = [name for name in library.names(operation) if (name == "reference") == (request.param == "reference")]
        chosen = next(name for name in names if kernel is None or name == "reference" or name.startswith(kernel))
        library.kernel(operation, chosen)(**values)

    return run


def softmax_attention(q, k, v, offset, scale):
    """The textbook, in float64: (out, lse)."""
    k, v = (np.repeat(each.astype(np.float64), q.shape[1] // each.shape[1], 1) for each in (k, v))
    scores = np.einsum("thd,chd->htc", q.astype(np.float64), k) * scale
    scores[:, np.arange(len(k)) > offset + np.arange(len(q))[:, None]] = -np.inf
    lse = np.logaddexp.reduce(scores, -1, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isinf(lse), 0, lse)[..., None])
    return np.einsum("htc,chd->thd", weights, v), lse.T


def drawn(rng, tokens, context, heads=4, kv_heads=2, dim=20):
    return (rng.standard_normal((n, h, dim), np.float32) for n, h in ((tokens, heads), (context, kv_heads), (context, kv_heads)))


def dense(run, q, k, v, offset, scale=0.25, kernel=None):
    out, lse = np.full_like(q, 7), np.empty(q.shape[:2], np.float32)
    numbers = {"tokens": len(q), "context": len(k), "heads": q.shape[1], "kv_heads": k.shape[1], "dim": q.shape[2]}
    run("attention", kernel, q=q, k=k, v=v, out=out, lse=lse, offset=offset, scale=scale, **numbers)
    return out, lse


def same(found, expected, tolerance=1e-5):
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@few
@given(seeds, st.integers(1, 6), st.integers(0, 300), st.integers(-4, 310))
def test_both_kernels_are_the_textbook_softmax(run, seed, tokens, context, offset):
    q, k, v = drawn(np.random.default_rng(seed), tokens, context)
    expected = softmax_attention(q, k, v, offset, 0.25)
    for kernel in ("attention_flash", "attention_standard"):
        same(dense(run, q, k, v, offset, kernel=kernel), expected)


@few
@given(seeds, st.integers(0, 200))
def test_heads_that_share_keys_equal_heads_with_copies_of_them(run, seed, context):
    q, k, v = drawn(np.random.default_rng(seed), 3, context)
    same(dense(run, q, k, v, context), dense(run, q, np.repeat(k, 2, 1), np.repeat(v, 2, 1), context))


@few
@given(seeds, st.integers(0, 200), st.integers(0, 200), st.floats(-300, 300))
def test_two_tiers_merged_equal_one_softmax_over_both(run, seed, first, second, shift):
    rng = np.random.default_rng(seed)
    q, k, v = drawn(rng, 2, first + second)
    k[:first] += np.float32(shift) * q[0, 0] / (q[0, 0] @ q[0, 0])  # one tier may outweigh the other by e^75
    out, lse = dense(run, q, k[:first].copy(), v[:first].copy(), first)
    other, other_lse = dense(run, q, k[first:].copy(), v[first:].copy(), second)
    run("merge_attention", out=out, lse=lse, other=other, other_lse=other_lse, rows=8, dim=20)
    same((out, lse), dense(run, q, k, v, first + second), 1e-4)


def test_scores_far_apart_neither_overflow_nor_vanish(run):
    q, k, v = drawn(np.random.default_rng(0), 1, 150)
    q *= 1e3
    expected = softmax_attention(q, k, v, 150, 1.0)
    same(dense(run, q, k, v, 150, 1.0), expected, 1e-3)


@pytest.mark.parametrize(
    "change, word", [({"kv_heads": 3}, "heads % kv_heads"), ({"kv_heads": 0}, "kv_heads > 0"), ({"context": 9}, "bytes")]
)
def test_shapes_that_do_not_fit_are_refused(run, change, word):
    q, k, v = drawn(np.random.default_rng(0), 1, 8)
    numbers = {"tokens": 1, "context": 8, "heads": 4, "kv_heads": 2, "dim": 20, **change}
    with pytest.raises(OperandError, match=word):
        run("attention", q=q, k=k, v=v, out=np.empty_like(q), lse=None, offset=0, scale=1.0, **numbers)


def pages_of(run, rng, kind, k, v, position=0):
    """k and v (context, 2, 20) written into pages of a pool in random order, and quantised: what paged operations take."""
    pages = -(-(position + len(k)) // 16)
    memory, where, table = cases.pool(rng, "f16", pages, **SHAPE)
    memory[:] = 0xFF if kind == "f16" else 0  # NaN, where nothing is written; what is quantised is a number
    run("kv_write_f16", k=k, v=v, pool=memory, table=table, tokens=len(k), position=position, pages=pages, **SHAPE, **where)
    if kind == "f16":
        return {"pool": memory, "table": table, "pages": pages, **SHAPE, **where}
    small, small_where, made = cases.pool(rng, kind, pages, **SHAPE)
    source = {f"source_{name}": value for name, value in where.items()}
    run(f"kv_quantize_{kind}", source=memory, source_pages=table, pool=small, pages=made, n=pages, **SHAPE, **source, **small_where)
    return {"pool": small, "table": made, "pages": pages, **SHAPE, **small_where}


def read(run, kind, paged):
    k, v = (np.empty((paged["pages"], 16, 2, 20), np.float32) for _ in range(2))
    run(f"kv_dequantize_{kind}", k=k, v=v, **paged)
    return k.reshape(-1, 2, 20), v.reshape(-1, 2, 20)


def attend(run, kind, q, paged, context, offset, scale=0.25):
    out, lse = np.full_like(q, 7), np.empty(q.shape[:2], np.float32)
    numbers = {"tokens": len(q), "context": context, "heads": q.shape[1], "offset": offset, "scale": scale}
    run(f"paged_attention_{kind}", q=q, out=out, lse=lse, **numbers, **paged)
    return out, lse


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(seed=seeds, tokens=st.integers(1, 6), context=st.integers(0, 200), offset=st.integers(-4, 210))
def test_pages_give_what_their_contents_give_densely(run, kind, seed, tokens, context, offset):
    rng = np.random.default_rng(seed)
    q, k, v = drawn(rng, tokens, context)
    paged = pages_of(run, rng, kind, k, v)
    k, v = (each[:context].copy() for each in read(run, kind, paged))
    same(attend(run, kind, q, paged, context, offset), softmax_attention(q, k, v, offset, 0.25), 1e-5 if kind == "f16" else 2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_that_is_no_number_attends_to_nothing_that_is_one(run, kind):
    rng = np.random.default_rng(0)
    q, k, v = drawn(rng, 2, 40)
    q[1, 2, 3] = np.nan
    for out, lse in (attend(run, kind, q, pages_of(run, rng, kind, k, v), 40, 40), dense(run, q, k, v, 40)):
        assert np.isnan(out[1, 2]).all() and np.isnan(lse[1, 2])
        assert np.isnan(out).sum() == 20 and np.isnan(lse).sum() == 1


@few
@given(seed=seeds, split=st.integers(0, 80))
def test_tokens_written_one_by_one_are_the_bytes_of_all_at_once(run, seed, split):
    rng = np.random.default_rng(seed)
    _, k, v = drawn(rng, 1, 80)
    memory, where, table = cases.pool(rng, "f16", 5, **SHAPE)
    again = memory.copy()
    numbers = {"table": table, "pages": 5, **SHAPE, **where}
    run("kv_write_f16", k=k, v=v, pool=memory, tokens=80, position=0, **numbers)
    run("kv_write_f16", k=k[split:].copy(), v=v[split:].copy(), pool=again, tokens=80 - split, position=split, **numbers)
    run("kv_write_f16", k=k[:split].copy(), v=v[:split].copy(), pool=again, tokens=split, position=0, **numbers)
    assert (memory == again).all()


@few
@given(seed=seeds, spread=st.floats(0, 3), shift=st.floats(-20, 20))
def test_quantisation_errs_by_half_a_step(run, seed, spread, shift):
    """Keys: by channel within a page. Values: by position."""
    rng = np.random.default_rng(seed)
    k, v = (rng.standard_normal((48, 2, 20), np.float32) for _ in range(2))
    k = k * np.exp(rng.normal(0, spread, (2, 20))).astype(np.float32) + np.float32(shift)
    k, v = (each.astype(np.float16).astype(np.float32) for each in (k, v))
    pages, head_size = k.reshape(3, 16, 2, 20), np.abs(k.reshape(3, 16, 2, 20)).max((1, 3), keepdims=True)
    span = np.ptp(pages, 1)[:, None]
    grid = head_size / 32767  # steps are whole multiples of at most this
    bound = {"q8": 0.5 * np.abs(pages).max(1, keepdims=True) / 127 + grid, "q4": 0.5 * (span + grid) / 15 + grid}
    value_bound = {"q8": 0.5 * np.abs(v).max(2, keepdims=True) / 127, "q4": 0.51 * np.ptp(v, axis=2, keepdims=True) / 15}
    for kind in ("q8", "q4", "q8q4"):
        keys, values = cases.KINDS[kind]
        found_k, found_v = read(run, kind, pages_of(run, rng, kind, k, v))
        assert (np.abs(found_k.reshape(pages.shape) - pages) <= bound[keys] + 1e-6).all()
        assert (np.abs(found_v - v) <= value_bound[values] + 1e-6).all()


def test_numbers_beyond_float16_are_held_at_its_largest(run):
    rng = np.random.default_rng(0)
    k = np.full((1, 2, 20), 1e9, np.float32)
    found_k, found_v = read(run, "f16", pages_of(run, rng, "f16", k, -k))
    assert (found_k[0] == 65504).all() and (found_v[0] == -65504).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [-1, 1000, 2**31 - 1])
def test_an_index_of_no_page_is_refused_and_nothing_is_written(run, kind, bad):
    rng = np.random.default_rng(0)
    q, k, v = drawn(rng, 1, 40)
    paged = pages_of(run, rng, kind, k, v)
    paged["table"][1] = bad
    with pytest.raises(OperandError, match="table holds an index"):
        attend(run, kind, q, paged, 40, 40)
    with pytest.raises(OperandError, match="table holds an index"):
        read(run, kind, paged)
    attend(run, kind, q, paged, 16, 16)  # the page is not used
    if kind == "f16":
        before = paged["pool"].copy()
        with pytest.raises(OperandError, match="table holds an index"):
            run("kv_write_f16", k=k, v=v, tokens=40, position=0, **paged)
        assert (paged["pool"] == before).all()


@pytest.mark.parametrize("name", ["source_pages", "pages"])
def test_quantising_refuses_indices_of_no_page(run, name):
    arguments = cases.kv_quantize_q8(np.random.default_rng(1), 1)
    arguments[name][0] = arguments["count"] + arguments["source_count"]
    with pytest.raises(OperandError, match=f"{name} holds an index"):
        run("kv_quantize_q8", **arguments)


def test_a_context_longer_than_its_table_and_a_pool_too_short_are_refused(run):
    rng = np.random.default_rng(0)
    q, k, v = drawn(rng, 1, 40)
    paged = pages_of(run, rng, "q8q4", k, v)
    with pytest.raises(OperandError, match="context <= pages"):
        attend(run, "q8q4", q, paged, 49, 49)
    with pytest.raises(OperandError, match=r"<= count \* stride"):
        attend(run, "q8q4", q, {**paged, "count": 1, "stride": 4}, 40, 40)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_would_reach_beyond_its_pool_is_refused(run, kind):
    q, k, v = drawn(np.random.default_rng(0), 1, 40)
    paged = next(
        paged
        for paged in (pages_of(run, np.random.default_rng(seed), kind, k, v) for seed in range(50))
        if 2 * paged["stride"] < paged["pool"].size // 6  # pages of three places
    )
    paged["table"][2] = paged["count"] - 1
    with pytest.raises(OperandError, match="table holds an index"):
        attend(run, kind, q, paged, 40, 40)


@few
@given(seed=seeds, power=st.integers(0, 9))
def test_the_rotation_is_its_own_inverse_and_leaves_inner_products(run, seed, power):
    x = np.random.default_rng(seed).standard_normal((6, 1 << power), np.float32)
    turned = x.copy()
    run("hadamard", x=turned, rows=6, dim=1 << power)
    np.testing.assert_allclose(turned @ turned.T, x @ x.T, rtol=1e-4, atol=1e-4)
    run("hadamard", x=turned, rows=6, dim=1 << power)
    np.testing.assert_allclose(turned, x, rtol=1e-5, atol=1e-5)


def test_rotated_queries_keys_and_values_attend_as_before(run):
    q, k, v = drawn(np.random.default_rng(3), 4, 90, dim=64)
    out, lse = dense(run, q, k, v, 86)
    for x in (q, k, v):
        run("hadamard", x=x, rows=x.size // 64, dim=64)
    turned, turned_lse = dense(run, q, k, v, 86)
    run("hadamard", x=turned, rows=turned.size // 64, dim=64)
    same((turned, turned_lse), (out, lse), 1e-4)


def test_the_rotation_needs_a_power_of_two(run):
    with pytest.raises(OperandError, match="dim holds a value"):
        run("hadamard", x=np.zeros((1, 80), np.float32), rows=1, dim=80)
