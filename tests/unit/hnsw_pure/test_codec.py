"""Codes of vectors: what they tell of a product, and indexes on them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnsw_pure import HNSW, BruteForce, CorruptSegmentError, DimensionError, ParameterError
from hnsw_pure.codec import codec
from hnsw_pure.metric import METRICS, Metric
from hnsw_pure.rotation import Rotation
from tests.contracts.index import true_scores
from tests.generators.clustered import Clustered, nearest, recall

KINDS = ("spread", "sparse", "far", "same")


def drawn(kind: str, count: int, dim: int, random: np.random.Generator) -> np.ndarray:
    """Vectors (count, dim) float32, none of them zero."""
    rows = random.standard_normal((count, dim))
    if kind == "sparse":
        rows *= random.random((count, dim)) < 0.02
        rows[np.arange(count), random.integers(0, dim, count)] += 1.5
    if kind == "far":
        rows += 40 * random.standard_normal(dim)
    if kind == "same":
        rows[:] = rows[0]
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def source():
    clustered = Clustered(96, topics=60)
    return clustered.draw(1500), clustered.draw(100)


@given(dims=st.sampled_from([128, 256, 384, 640, 768, 1024]), seed=st.integers(0, 2**64))
@settings(max_examples=30, deadline=None)
def test_a_rotation_keeps_lengths_and_angles_and_can_be_undone(dims, seed):
    rotation = Rotation(dims, seed)
    rows = np.concatenate((np.eye(dims, dtype=np.float32)[:3], np.random.default_rng(0).standard_normal((4, dims)).astype(np.float32)))
    turned = rotation(rows)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-3)
    np.testing.assert_allclose(rotation.back(turned), rows, atol=1e-4)
    assert np.abs(turned[:3]).max() < 0.7  # what one component held is spread


@pytest.mark.parametrize("dims", [128, 384, 768])
def test_a_rotation_is_another_one_for_another_seed_and_the_same_for_the_same(dims):
    rows = np.random.default_rng(0).standard_normal((3, dims)).astype(np.float32)
    assert (Rotation(dims, 5)(rows) == Rotation(dims, 5)(rows)).all()
    assert np.abs(Rotation(dims, 5)(rows) - Rotation(dims, 6)(rows)).max() > 0.1


@given(seed=st.integers(0, 2**32), dim=st.integers(1, 300), kind=st.sampled_from(KINDS), metric=st.sampled_from(METRICS))
@settings(max_examples=80, deadline=None)
def test_int8_stands_for_its_vector_within_a_step(seed, dim, kind, metric):
    """Each of the rotated components is off by half a step at most, and a step is 1/127.5 of the largest."""
    random = np.random.default_rng(seed)
    measure = Metric(metric, dim)
    rows = measure.prepare(*measure.read(drawn(kind, 300, dim, random), "rows"))
    int8 = codec("int8", measure, seed)
    int8.learn(rows)
    decoded = int8.decode(int8.encode(rows))
    left = int8.rotation(np.pad(rows - int8.centre, ((0, 0), (0, int8.dims - dim))))
    step = np.abs(left).max(axis=1) / 127.5
    off = np.linalg.norm(decoded - rows, axis=1)
    assert (off <= step * np.sqrt(int8.dims) * 0.51 + 1e-5 * np.linalg.norm(rows, axis=1)).all()


@given(seed=st.integers(0, 2**32), dim=st.integers(2, 300), kind=st.sampled_from(KINDS[:3]), name=st.sampled_from(["int8", "bit1"]))
@settings(max_examples=20, deadline=None)  # of 200 rotations each
def test_estimates_from_signs_have_no_bias_and_the_error_they_state(seed, dim, kind, name):
    """Over many random rotations of one vector: the mean error is far below one error, and few errors are large."""
    random = np.random.default_rng(seed)
    measure = Metric("ip", dim)
    row, query = drawn(kind, 1, dim, random), drawn(kind, 1, dim, random)
    errors = []
    for turn in range(200):
        made = codec(name, measure, turn)
        codes = made.encode(row)
        factors = made._factors(codes)[0]
        bits = np.unpackbits(codes["codes"][:, : made.dims // 8], axis=1, bitorder="little")
        estimate = (bits * 2.0 - 1) @ made.ask(query).values[0] * factors[0]
        error = factors[1] * np.linalg.norm(query)
        errors.append(float((estimate[0] - row[0] @ query[0]) / error))
    assert abs(np.mean(errors)) < 0.5 and np.mean(np.abs(errors) > 3) < 0.05


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name, close", [("float32", 1e-4), ("int8", 0.02), ("bit1", 1.0)])
def test_scores_of_codes_are_scores(source, metric, name, close):
    base, queries = source
    made = codec(name, Metric(metric, 96), 3)
    prepared = made.metric.prepare(base, made.metric.squares(base, "base"))
    made.learn(prepared)
    codes = made.encode(prepared)
    scale = np.linalg.norm(prepared, axis=1).max() ** 2
    for query in queries[:20]:
        asked = made.metric.prepare(query[None], made.metric.squares(query[None], "query"))[0]
        np.testing.assert_allclose(made.scores(codes, asked), true_scores(base, query, metric), atol=close * scale)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name, close", [("float32", 1e-4), ("int8", 0.02), ("bit1", 0.9)])
def test_codes_are_as_near_to_each_other_as_their_vectors(source, metric, name, close):
    """Up to a constant, the same for all pairs."""
    made = codec(name, Metric(metric, 96), 3)
    prepared = made.metric.prepare(source[0][:400], made.metric.squares(source[0][:400], "base"))
    made.learn(prepared)
    rows = made.rows(made.encode(prepared))
    off = rows.closeness(rows) - codec("float32", made.metric).rows({"vectors": prepared, "halves": (prepared**2).sum(1) / 2}).closeness(
        codec("float32", made.metric).rows({"vectors": prepared})
    )
    if metric == "l2":
        off += (prepared**2).sum(1) / 2
    off = off[~np.eye(400, dtype=bool)]
    assert np.abs(off - np.median(off)).max() < close * np.linalg.norm(prepared, axis=1).max() ** 2


@pytest.mark.parametrize("kind", [HNSW, BruteForce])
@pytest.mark.parametrize("metric", METRICS)
def test_an_index_on_codes_finds_the_nearest(source, kind, metric):
    base, queries = source
    truth = (
        nearest(base, queries, 10) if metric == "cosine" else np.array([np.argsort(-true_scores(base, q, metric))[:10] for q in queries])
    )
    for name, alone, last in (("int8", 0.93, 0.99), ("bit1", 0.3, 0.9)):
        built = kind(96, metric=metric, codec=name)
        built.add(np.arange(len(base)), base)
        for originals, least in ((None, alone), (lambda ids: base[ids].astype(np.float16), last)):
            index = kind.from_segments(built.segments(), originals=originals)
            found = index.search(queries, 10, ef=128)
            assert recall(found.ids, truth) > least
            if originals:
                exact = [true_scores(base[ids], query, metric) for ids, query in zip(found.ids, queries, strict=True)]
                np.testing.assert_allclose(found.scores, exact, rtol=2e-3, atol=2e-3 * np.abs(exact).max())


@pytest.mark.parametrize("name", ["int8", "bit1"])
def test_an_index_on_codes_is_saved_as_it_is(source, name):
    """What is learned and coded comes back bit for bit, with and without vectors in the segments: there are none."""
    base, queries = source
    index = HNSW(96, codec=name, M=8, ef_construction=40)
    index.add(np.arange(600), base[:600])
    index.delete(np.arange(0, 600, 3))
    store = index.changes(vectors=False).written
    index.mark_saved()
    index.add([1000], base[:1])
    index.delete([1])
    changes = index.changes(vectors=False)
    assert not any(name.startswith(("learned", "vectors")) for name in changes.written)
    store |= changes.written
    assert store == index.segments() == index.segments(vectors=False)
    again = HNSW.from_segments(store)
    assert again.codec == name and again.segments() == store
    for found, expected in zip((again.search(queries),), (index.search(queries),), strict=True):
        assert (found.ids == expected.ids).all() and (found.scores == expected.scores).all()
    again.add([2000], base[700:701])
    assert again.search(base[700], 1).ids[0, 0] == 2000
    broken = {**store, "learned/centre": store["ids/0"]}
    with pytest.raises(CorruptSegmentError):
        HNSW.from_segments(broken)


def test_vectors_of_an_index_on_codes(source):
    base = source[0]
    unit = base / np.linalg.norm(base, axis=1, keepdims=True)
    plain, given_originals = HNSW(96, codec="int8"), HNSW(96, codec="int8", originals=lambda ids: base[ids])
    for index in (plain, given_originals):
        index.add(np.arange(300), base[:300])
    np.testing.assert_allclose(given_originals.vectors([7, 3]), unit[[7, 3]], atol=1e-6)
    off = np.abs(plain.vectors([7, 3]) - unit[[7, 3]]).max()
    assert 0 < off < 0.01


def test_what_cannot_be_is_refused(source):
    with pytest.raises(ParameterError, match="pq"):
        HNSW(96, codec="pq")
    index = HNSW(96, codec="bit1", originals=lambda ids: source[0][:1])
    index.add(np.arange(300), source[0][:300])
    with pytest.raises(DimensionError, match="1 vectors for"):
        index.search(source[1][0])


def test_few_vectors_teach_no_centre_and_the_first_ones_at_once_do(source):
    few, many = HNSW(96, codec="int8"), HNSW(96, codec="int8")
    few.add(np.arange(20), source[0][:20])
    many.add(np.arange(300), source[0][:300])
    assert not few._codec.centre.any() and many._codec.centre.any()
    held = many._codec.centre.copy()
    many.add([5000], source[0][400:401])
    assert (many._codec.centre == held).all()


@pytest.mark.parametrize("name", ["float32", "int8", "bit1"])
def test_what_is_expected_makes_a_few_at_a_time_as_good_as_all_at_once(source, name):
    base, _ = source
    ids = np.arange(300)
    whole, sliced = BruteForce(96, codec=name), BruteForce(96, codec=name)
    whole.add(ids, base[:300])
    sliced.expect(300, base[:300])
    for start in range(0, 300, 60):
        sliced.add(ids[start : start + 60], base[start : start + 60])
    one, other = whole.segments(), sliced.segments()
    assert one.keys() == other.keys() and all(one[part] == other[part] for part in one)
    with pytest.raises(ParameterError):
        sliced.expect(-1)
    with pytest.raises(DimensionError):
        sliced.expect(5, base[:3, :7])
