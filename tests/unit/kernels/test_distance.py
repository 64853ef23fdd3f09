"""Search kernels where the shared contract does not look: exact sums at their bound, ties, filters, and what is no hit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import OperandError
from pyruvllm.kernels import cases

GATHERS = ["gather_dot", "gather_l2", "gather_cosine", "gather_dot_i8", "gather_l2_i8", "gather_cosine_i8", "gather_hamming"]
NEAR = {
    0: lambda query, row: float(query @ row),
    1: lambda query, row: -float((query - row) @ (query - row)),
    2: lambda query, row: float(query @ row / (np.sqrt(query @ query) * np.sqrt(row @ row))) if query.any() and row.any() else 0.0,
}


def each(library, operation):
    return [library.kernel(operation, name) for name in library.names(operation)]


def scanned(kernel, queries, rows, k, metric, allowed=None):
    """slots and scores (queries, k)."""
    slots, scores = np.full((len(queries), k), 77, np.int32), np.full((len(queries), k), 77, np.float32)
    given = {"queries": queries, "rows": rows, "allowed": allowed, "slots": slots, "scores": scores, "k": k, "metric": metric}
    kernel(**given, count=len(queries), total=len(rows), dim=queries.shape[1])
    return slots, scores


@pytest.mark.parametrize("operation", GATHERS)
@pytest.mark.parametrize("bad", [-1, 40, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("at", [0, 16])
def test_slots_outside_the_table_are_refused_and_nothing_is_written(library, operation, bad, at):
    for kernel in each(library, operation):
        values = cases.of(kernel.operation)(np.random.default_rng(0), 1)
        values["slots"][at] = bad
        with pytest.raises(OperandError, match=f"{operation}: slots holds an index"):
            kernel(**values)
        assert not values.get("scores", values.get("distances")).any()


def test_integer_sums_are_exact_up_to_the_largest_dimension(library):
    dim = 131071
    rows = np.full((2, dim), -128, np.int8)
    rows[1] = 127
    for value in (-128, -127, 127):
        for kernel in each(library, "dot_i8"):
            scores = np.zeros(2, np.float32)
            query = np.full(dim, value, np.int8)
            kernel(query=query, rows=rows, scales=np.ones(2, np.float32), scores=scores, n=2, dim=dim, query_scale=1)
            assert scores.tolist() == [np.float32(dim * value * -128), np.float32(dim * value * 127)]
    longer = np.zeros(dim + 1, np.int8)
    for operation in ("dot_i8", "l2_i8", "cosine_i8"):
        for kernel in each(library, operation):
            result = {"distances" if operation == "l2_i8" else "scores": np.zeros(1, np.float32)}
            scaled = {} if operation == "cosine_i8" else {"scales": np.ones(1, np.float32), "query_scale": 1}
            with pytest.raises(OperandError, match="needs dim <= 131071"):
                kernel(query=longer, rows=longer, **scaled, **result, n=1, dim=dim + 1)


@given(st.integers(0, 999), st.integers(1, 90))
def test_int8_distances_are_those_of_the_vectors_they_stand_for(library, seed, dim):
    random = np.random.default_rng(seed)
    query, rows = random.integers(-128, 128, dim, np.int8), random.integers(-128, 128, (5, dim), np.int8)
    rows[0] = query
    scales = random.uniform(0.01, 1, 5).astype(np.float32)
    scales[0] = 0.25
    away = rows * scales[:, None].astype(np.float64) - query * 0.25
    for kernel in each(library, "l2_i8"):
        found = np.zeros(5, np.float32)
        kernel(query=query, rows=rows, scales=scales, distances=found, n=5, dim=dim, query_scale=0.25)
        assert found[0] == 0
        assert np.allclose(found, (away**2).sum(1), rtol=1e-6)


@pytest.mark.parametrize("operation", ["dot", "l2", "cosine"])
def test_a_row_scores_the_same_wherever_it_lies(library, operation):
    """Else rows that are equal would not tie. Alone, in any place among others, gathered: the same bits."""
    random = np.random.default_rng(3)
    query, row = random.standard_normal(75, np.float32), random.standard_normal(75, np.float32)
    result = "distances" if operation == "l2" else "scores"
    for name in library.names(operation)[:-1]:
        seen = set()
        for n in range(1, 10):
            rows, found = np.tile(row, (n, 1)), np.zeros(n, np.float32)
            library.kernel(operation, name)(query=query, rows=rows, **{result: found}, n=n, dim=75)
            seen |= set(found.tolist())
            gathered = np.zeros(n, np.float32)
            slots = np.zeros(n, np.int32)
            library.kernel(f"gather_{operation}", f"gather_{name}")(
                query=query, table=rows, slots=slots, **{result: gathered}, total=n, n=n, dim=75
            )
            seen |= set(gathered.tolist())
        assert len(seen) == 1


def test_cosines_stay_within_their_range_and_have_a_value_for_zero(library):
    random = np.random.default_rng(5)
    for kernel in each(library, "cosine"):
        for _ in range(50):
            query = random.standard_normal(37, np.float32)
            rows, scores = np.stack([query, -query, 0 * query, query * 1e-30]), np.zeros(4, np.float32)
            kernel(query=query, rows=rows, scores=scores, n=4, dim=37)
            assert np.abs(scores).max() <= 1
            assert np.allclose(scores, [1, -1, 0, 0], atol=1e-6)
        rows[0, 3], rows[1, 3] = np.inf, np.nan
        kernel(query=0 * query, rows=rows, scores=scores, n=4, dim=37)
        assert not scores.any()
        kernel(query=query * np.inf, rows=rows, scores=scores, n=4, dim=37)
        assert np.isnan(scores[:2]).all() and not scores[2:].any()  # squares of the last are 0 in float32


@settings(max_examples=60)
@given(st.integers(0, 9999), st.integers(0, 40), st.integers(1, 9), st.integers(0, 12), st.integers(0, 2), st.booleans())
def test_a_scan_is_the_sorted_list_of_all_rows(library, seed, total, dim, k, metric, filtered):
    """Over small whole numbers, whose sums are exact in any order, so that many rows tie."""
    random = np.random.default_rng(seed)
    queries, rows = (random.integers(-2, 3, (count, dim)).astype(np.float32) for count in (3, total))
    if total:
        rows[random.integers(total)] = random.choice([np.nan, np.inf, 1])
    allowed = random.integers(0, 256, -(-total // 8), np.uint8) if filtered else None
    admitted = [i for i in range(total) if allowed is None or allowed[i // 8] >> i % 8 & 1]
    for kernel in each(library, "topk_scan"):
        slots, scores = scanned(kernel, queries, rows, k, metric, allowed)
        for query, got, near in zip(queries, slots.tolist(), scores.tolist(), strict=True):
            with np.errstate(invalid="ignore"):
                scored = [(np.float32(NEAR[metric](query, rows[i])), i) for i in admitted]
            best = sorted(((-score, i) for score, i in scored if score > -np.inf))[:k]
            assert got == [i for _, i in best] + [-1] * (k - len(best))
            assert np.allclose(near, [-score for score, _ in best] + [-np.inf] * (k - len(best)), rtol=1e-6)


def test_a_scan_knows_its_three_metrics_only(library):
    rows = np.ones((3, 4), np.float32)
    for kernel in each(library, "topk_scan"):
        with pytest.raises(OperandError, match="metric <= 2"):
            scanned(kernel, rows, rows, 2, 3)


def test_a_filter_over_many_rows_leaves_only_what_it_admits(library):
    """Whole bytes of zeros are passed over; bits past the last row mean nothing."""
    random = np.random.default_rng(8)
    total = 5003
    rows, queries = random.standard_normal((total, 6), np.float32), random.standard_normal((2, 6), np.float32)
    for admitted in ([], [5002], [0, 7, 8, 2500, 4999, 5002]):
        allowed = np.zeros(626, np.uint8)
        allowed[-1] = 0b11111000  # beyond row 5002
        for i in admitted:
            allowed[i // 8] |= 1 << i % 8
        for kernel in each(library, "topk_scan"):
            slots, _ = scanned(kernel, queries, rows, 8, 0, allowed)
            assert [sorted(each[each >= 0].tolist()) for each in slots] == [admitted, admitted]


@given(st.integers(0, 999), st.integers(1, 700))
def test_bits_that_differ_are_counted_alike_by_all(library, seed, width):
    random = np.random.default_rng(seed)
    query, rows = random.integers(0, 256, width, np.uint8), random.integers(0, 256, (3, width), np.uint8)
    rows[2] = ~query
    expected = [(int.from_bytes(query.tobytes()) ^ int.from_bytes(row.tobytes())).bit_count() for row in rows]
    for kernel in each(library, "hamming"):
        found = np.zeros(3, np.uint32)
        kernel(query=query, rows=rows, distances=found, n=3, bytes=width)
        assert found.tolist() == expected and expected[2] == 8 * width
