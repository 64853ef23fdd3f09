"""What every vector index promises.

With `ef` no smaller than the index a graph search sees every node it can reach, so it has to be exact.
"""

import io
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

import hnsw_pure
from tests.generators.clustered import Clustered

METRICS = ("cosine", "ip", "l2")
EF = 512  # no test of the contract has more vectors


def true_scores(vectors: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    """Scores of vectors (n, dim) for a query (dim,), (n,) float64, straight from the definitions."""
    vectors, query = vectors.astype(float), query.astype(float)
    if metric == "l2":
        return -((vectors - query) ** 2).sum(axis=1)
    products = vectors @ query
    return products if metric == "ip" else products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def assert_exact(result, held: dict[int, np.ndarray], queries: np.ndarray, k: int, metric: str) -> None:
    """The k best of what is held, best first; equally good ones may stand for each other."""
    assert result.ids.shape == result.scores.shape == (len(queries), k)
    assert result.ids.dtype == np.int64 and result.scores.dtype == np.float32
    count = min(k, len(held))
    assert (result.ids[:, count:] == -1).all() and (result.scores[:, count:] == -np.inf).all()
    ids = np.array(list(held), np.int64)
    for query, found, scores in zip(queries, result.ids[:, :count].tolist(), result.scores[:, :count], strict=True):
        assert len(set(found)) == count and set(found) <= set(held)
        if count:
            best = np.sort(true_scores(np.array([held[id] for id in ids.tolist()]), query, metric))[::-1][:count]
            mine = true_scores(np.array([held[id] for id in found]), query, metric)
            np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(scores, mine, rtol=1e-4, atol=1e-4)
            assert (np.diff(scores) <= 0).all()


def contents(index) -> dict[int, bytes]:
    """All that an index holds, to compare before and after."""
    return {id: index.vectors([id]).tobytes() for id in index.ids.tolist()}


class Interleaved(RuleBasedStateMachine):
    """An index beside a plain dict, through any order of calls."""

    DIM = 6

    def __init__(self, make) -> None:
        super().__init__()
        self.make = make

    @initialize(metric=st.sampled_from(METRICS))
    def begin(self, metric) -> None:
        self.metric = metric
        self.index = self.make(self.DIM, metric)
        self.held: dict[int, np.ndarray] = {}
        self.store: dict[str, bytes] = {}

    @rule(count=st.integers(1, 40), seed=st.integers(0, 2**16), coarse=st.booleans())
    def add(self, count, seed, coarse) -> None:
        random = np.random.default_rng(seed)
        vectors = random.standard_normal((count, self.DIM)).astype(np.float32)
        if coarse:  # many equal vectors
            vectors = np.sign(vectors)
        ids = [id for id in random.permutation(200).tolist() if id not in self.held][:count]
        self.index.add(ids, vectors[: len(ids)])
        self.held.update(zip(ids, vectors, strict=False))

    @precondition(lambda self: self.held)
    @rule(share=st.floats(0, 1), seed=st.integers(0, 2**16))
    def delete(self, share, seed) -> None:
        gone = np.random.default_rng(seed).permutation(list(self.held))[: 1 + int(share * len(self.held))]
        self.index.delete(gone)
        for id in gone.tolist():
            del self.held[id]

    @rule(seed=st.integers(0, 2**16), k=st.integers(1, 12))
    def search(self, seed, k) -> None:
        queries = np.random.default_rng(seed).standard_normal((2, self.DIM)).astype(np.float32)
        assert_exact(self.index.search(queries, k, ef=EF), self.held, queries, k, self.metric)

    @rule(seed=st.integers(0, 2**16), k=st.integers(1, 12), share=st.floats(0, 1))
    def search_among(self, seed, k, share) -> None:
        random = np.random.default_rng(seed)
        queries = random.standard_normal((1, self.DIM)).astype(np.float32)
        allowed = np.flatnonzero(random.random(220) < share)
        held = {id: vector for id, vector in self.held.items() if id in allowed}
        assert_exact(self.index.search(queries, k, ef=EF, where=allowed), held, queries, k, self.metric)

    @rule()
    def save_and_load(self) -> None:
        file = io.BytesIO()
        self.index.save(file)
        file.seek(0)
        self.index = type(self.index).load(file)
        self.store = {}

    @rule(confirmed=st.booleans())
    def store_changes(self, confirmed) -> None:
        changes = self.index.changes()
        if confirmed:  # else the write failed, and all of it has to come again
            for name in changes.removed:
                del self.store[name]
            self.store.update(changes.written)
            self.index.mark_saved()
            assert self.index.changes().written == {}

    @precondition(lambda self: self.store)
    @rule()
    def reopen(self) -> None:
        changes = self.index.changes()
        stored = {name: segment for name, segment in self.store.items() if name not in changes.removed} | changes.written
        assert stored.keys() == self.index.segments().keys()
        self.index = type(self.index).from_segments(stored)
        self.store = stored

    @rule(slots=st.none() | st.integers(1, 30))
    def compact(self, slots) -> None:
        self.index.compact(slots)

    @precondition(lambda self: self.held)
    @rule(share=st.floats(0, 1), seed=st.integers(0, 2**16))
    def update(self, share, seed) -> None:
        random = np.random.default_rng(seed)
        ids = random.permutation(list(self.held))[: 1 + int(share * len(self.held))]
        vectors = random.standard_normal((len(ids), self.DIM)).astype(np.float32)
        self.index.update(ids, vectors)
        self.held.update(zip(ids.tolist(), vectors, strict=True))

    @invariant()
    def holds_what_it_was_given(self) -> None:
        if not hasattr(self, "held"):
            return
        assert len(self.index) == len(self.held)
        assert sorted(self.index.ids.tolist()) == sorted(self.held)
        if hasattr(self.index, "_graph"):
            live = np.zeros(len(self.index._graph.levels), bool)
            live[self.index._table.live()] = True
            assert self.index._graph.fault(live) is None


class IndexContract:
    """Subclasses say how an index is made: make(dim, metric)."""

    @staticmethod
    def make(dim, metric="cosine"):
        raise NotImplementedError

    def filled(self, count: int = 300, dim: int = 16, metric: str = "cosine"):
        """An index of ids 0, 10, 20 ..., what it holds, and eight queries."""
        source = Clustered(dim, seed=7, topics=12)
        vectors, queries = source.draw(count), source.draw(8)
        if metric != "cosine":
            vectors = vectors * np.random.default_rng(1).uniform(0.5, 2, (count, 1)).astype(np.float32)
        index = self.make(dim, metric)
        index.add(np.arange(count) * 10, vectors)
        return index, dict(zip(range(0, count * 10, 10), vectors, strict=True)), queries

    def test_any_interleaving(self):
        shape = settings(settings.default, max_examples=20, stateful_step_count=15)
        run_state_machine_as_test(lambda: Interleaved(self.make), settings=shape)

    @pytest.mark.parametrize("metric", METRICS)
    def test_finds_the_nearest(self, metric):
        index, held, queries = self.filled(metric=metric)
        assert_exact(index.search(queries, 10, ef=EF), held, queries, 10, metric)

    def test_a_single_query_is_a_row(self):
        index, held, queries = self.filled()
        assert_exact(index.search(queries[0], 3, ef=EF), held, queries[:1], 3, "cosine")

    def test_no_queries(self):
        index, _, queries = self.filled()
        assert index.search(queries[:0], 4).ids.shape == (0, 4)

    def test_empty_index_has_no_hits(self):
        index = self.make(4)
        assert_exact(index.search(np.ones((2, 4)), 5), {}, np.ones((2, 4)), 5, "cosine")
        assert len(index) == 0 and 1 not in index
        index.compact()
        index.add([], np.empty((0, 4)))
        index.delete([])
        assert len(type(index).from_segments(index.segments())) == 0

    def test_fewer_than_k(self):
        index, held, queries = self.filled(count=3)
        assert_exact(index.search(queries, 10), held, queries, 10, "cosine")

    def test_result_is_frozen(self):
        index, _, queries = self.filled(count=3)
        with pytest.raises(FrozenInstanceError):
            index.search(queries).ids = None

    @pytest.mark.parametrize("as_callable", (False, True))
    @pytest.mark.parametrize("allowed", (range(0, 3000, 70), [20], [], range(3000), [5, 20, 999_999]))
    def test_filter(self, allowed, as_callable):
        index, held, queries = self.filled()
        allowed = np.array(allowed, np.int64)
        where = (lambda ids: np.isin(ids, allowed)) if as_callable else allowed
        held = {id: vector for id, vector in held.items() if id in allowed}
        assert_exact(index.search(queries, 8, ef=EF, where=where), held, queries, 8, "cosine")

    def test_a_few_of_many_are_allowed(self):
        vectors = np.random.default_rng(3).normal(size=(700, 4)).astype(np.float32)
        index = self.make(4)
        index.add(np.arange(700), vectors)
        index.delete([5])
        assert index.search(vectors[5], 3, ef=EF, where=[5, 690, 10_000, 7]).ids.tolist()[0].count(-1) == 1
        assert set(index.search(vectors[5], 2, ef=EF, where=[690, 7]).ids[0].tolist()) == {7, 690}

    def test_deleted_is_never_found_again(self):
        index, held, queries = self.filled()
        gone = list(held)[::3]
        before = index.vectors(gone)
        index.delete(gone)
        held = {id: vector for id, vector in held.items() if id not in set(gone)}
        assert gone[0] not in index and 10 in index and len(index) == len(held)
        assert_exact(index.search(queries, len(held) + 5, ef=EF), held, queries, len(held) + 5, "cosine")
        saved = b"".join(index.segments().values())
        assert not any(vector.tobytes() in saved for vector in before)

    def test_slots_of_the_deleted_are_used_again(self):
        index, held, queries = self.filled()
        size = sum(map(len, index.segments().values()))
        for round in range(5):
            some = index.ids[::2]
            vectors = index.vectors(some)
            index.delete(some)
            index.add(some + 1_000_000 * (round + 1), vectors)
        assert len(index) == 300
        assert sum(map(len, index.segments().values())) < 1.2 * size

    def test_an_id_may_come_back_with_another_vector(self):
        index, held, queries = self.filled()
        index.delete([50])
        index.add([50], -held[50][None])
        held[50] = -held[50]
        assert_exact(index.search(queries, 300, ef=EF), held, queries, 300, "cosine")

    def test_all_can_go_and_others_come(self):
        index, held, queries = self.filled()
        index.delete(list(held))
        assert len(index) == 0 and (index.search(queries, 1).ids == -1).all()
        index.add([2**63 - 1], queries[:1])
        assert index.search(queries[0], 1).ids.tolist() == [[2**63 - 1]]

    def test_compact_changes_no_answer_and_gives_room_back(self):
        index, held, queries = self.filled()
        index.delete(list(held)[:200])
        answer = index.search(queries, 10, ef=EF)
        size = sum(map(len, index.segments().values()))
        index.compact()
        again = index.search(queries, 10, ef=EF)
        assert (again.ids == answer.ids).all()
        np.testing.assert_allclose(again.scores, answer.scores, atol=1e-6)
        assert sum(map(len, index.segments().values())) < 0.6 * size

    def test_compact_in_slices_is_right_at_every_moment(self):
        (index, held, queries), (whole, _, _) = self.filled(), self.filled()
        gone = np.random.default_rng(3).permutation(list(held))[:170]
        index.delete(gone)
        whole.delete(gone)
        answer = index.search(queries, 10, ef=16)
        left = []
        while not left or left[-1]:
            left.append(index.compact(16))
            assert (index.search(queries, 10, ef=16).ids == answer.ids).all()
        assert len(left) > 2 and left == sorted(left, reverse=True)
        assert whole.compact() == 0
        assert index.segments() == whole.segments()
        for slots in (0, -1, True, 1.5):
            with pytest.raises(hnsw_pure.ParameterError, match="slots is"):
                index.compact(slots)

    def test_update_replaces_all_or_nothing(self):
        index, held, queries = self.filled()
        ids = list(held)[:150:3]
        index.update(ids, np.array([-held[id] for id in ids]))
        held.update({id: -held[id] for id in ids})
        assert_exact(index.search(queries, 20, ef=EF), held, queries, 20, "cosine")
        before = contents(index)
        for wrong, vectors, error in (
            ([ids[0], 999], np.ones((2, 16)), hnsw_pure.UnknownIdError),
            ([ids[0], ids[0]], np.ones((2, 16)), hnsw_pure.DuplicateIdError),
            ([ids[0]], np.full((1, 16), np.nan), hnsw_pure.NonFiniteError),
            ([ids[0]], np.ones((2, 16)), hnsw_pure.DimensionError),
        ):
            with pytest.raises(error):
                index.update(wrong, vectors)
        assert contents(index) == before

    def test_search_by_id_leaves_itself_out(self):
        index, held, _ = self.filled()
        ids = list(held)[::40]
        found = index.search_ids(ids, 5, ef=EF)
        for row, id in enumerate(ids):
            others = {other: vector for other, vector in held.items() if other != id}
            part = hnsw_pure.SearchResult(found.ids[row : row + 1], found.scores[row : row + 1])
            assert_exact(part, others, held[id][None], 5, "cosine")
        among = list(held)[1:20]
        assert set(index.search_ids([list(held)[0]], 5, ef=5, where=among).ids[0].tolist()) <= set(among)
        with pytest.raises(hnsw_pure.UnknownIdError):
            index.search_ids([999], 5)

    @pytest.mark.parametrize("metric", METRICS)
    def test_search_by_range_finds_all_that_are_near_enough(self, metric):
        index, held, queries = self.filled(metric=metric)
        scores = true_scores(np.array(list(held.values())), queries[0], metric)
        for rank in (0, 1, 63, 64, 150, 299):
            bound = np.sort(scores)[::-1][rank] - 1e-4
            found = index.search_range(queries[0], bound, ef=EF)
            near = scores > bound + 1e-3  # neither side of rounding
            assert found.ids.shape == found.scores.shape == (1, found.ids.shape[1])
            assert set(np.array(list(held))[near].tolist()) <= set(found.ids[0].tolist())
            assert (found.scores >= bound).all() and (np.diff(found.scores) <= 0).all()
        assert index.search_range(queries[0], np.inf).ids.shape == (1, 0)
        assert self.make(16, metric).search_range(queries[0], 0).ids.shape == (1, 0)
        with pytest.raises(hnsw_pure.ParameterError, match="score is nan"):
            index.search_range(queries[0], np.nan)

    def test_statistics_are_counts(self):
        index, held, _ = self.filled()
        index.delete(list(held)[:30])
        told = index.statistics()
        assert (told.vectors, told.free) == (270, 30)
        assert told.bytes["ids"] >= 8 * 300 and sum(told.bytes.values()) > 300 * 16
        assert f"{sum(told.bytes.values()) / 1e6:.1f} MB" in str(told)
        if told.layers:
            assert told.layers[0].nodes == 270 and told.reachable == 1
            for layer in told.layers:
                assert layer.degrees.sum() == layer.nodes
                assert layer.least_degree <= layer.mean_degree <= layer.greatest_degree
        empty = self.make(4).statistics()
        assert empty.vectors == empty.free == 0 and "0 vectors" in str(empty)

    def test_explains_the_way_of_a_search(self):
        index, held, queries = self.filled()
        told, found = index.explain(queries[0], 5, ef=40), index.search(queries[0], 5, ef=40)
        assert told.ids.tolist() == found.ids[0].tolist() and told.scores.tolist() == found.scores[0].tolist()
        assert 5 <= told.looked_at <= len(held)
        for step in told.steps:
            np.testing.assert_allclose(step.score, true_scores(held[step.id][None], queries[0], "cosine")[0], atol=1e-4)
        if told.steps:
            assert "A walk that keeps 40 in sight: of 300 vectors 300 are allowed." in str(told)
            layers = [step.layer for step in told.steps]
            assert layers == sorted(layers, reverse=True) and told.turns > 1
            scores = [step.score for step in told.steps]
            assert all(later >= former - 1e-6 for former, later in zip(scores, scores[1:], strict=False))
        assert f"1. id {found.ids[0, 0]}, score {found.scores[0, 0]:.4f}" in str(told)
        few = index.explain(queries[0], 5, where=list(held)[:3])
        assert (few.looked_at, few.steps, len(few.ids)) == (3, (), 3)
        assert "An exact scan: of 300 vectors 3 are allowed." in str(few)
        with pytest.raises(hnsw_pure.DimensionError, match="one query is explained at a time, not 8"):
            index.explain(queries)
        assert self.make(4).explain(np.ones(4)).looked_at == 0

    def test_equal_vectors(self):
        index = self.make(8)
        index.add(np.arange(200), np.ones((200, 8)))
        assert sorted(index.search(np.ones(8), 200, ef=EF).ids[0].tolist()) == list(range(200))

    def test_vectors_come_back(self):
        index, held, _ = self.filled(metric="l2")
        assert (index.vectors([30, 10]) == np.array([held[30], held[10]])).all()
        index = self.make(2, "cosine")
        index.add([1], [[3e-20, 4e-20]])
        np.testing.assert_allclose(index.vectors([1]), [[0.6, 0.8]], rtol=1e-6)

    def test_the_same_calls_make_the_same_bytes(self):
        assert self.filled()[0].segments() == self.filled()[0].segments()

    def test_survives_a_restart(self):
        index, _, queries = self.filled()
        index.delete(index.ids[::4])
        again = type(index).from_segments(index.segments())
        first, second = index.search(queries, 10, ef=16), again.search(queries, 10, ef=16)
        assert (first.ids == second.ids).all() and (first.scores == second.scores).all()
        assert again.segments() == index.segments()
        vector = queries[:1]
        index.add([7], vector)
        again.add([7], vector)
        assert again.segments() == index.segments()

    def test_path(self, tmp_path):
        index, _, _ = self.filled(count=20)
        index.save(tmp_path / "vectors.index")
        assert contents(type(index).load(tmp_path / "vectors.index")) == contents(index)
        assert [path.name for path in tmp_path.iterdir()] == ["vectors.index"]

    def test_only_what_changed_is_written(self):
        index, _, _ = self.filled(count=1000)
        everything = index.changes()
        assert everything.written == index.segments() and everything.removed == ()
        index.mark_saved()
        assert index.changes() == hnsw_pure.Changes({}, ())
        index.delete([0])
        written = index.changes().written
        assert {"head", "ids/0", "vectors/0"} <= written.keys() and "vectors/1" not in written
        index.add([1], np.ones((1, 16)))  # after the hand-out, before it is confirmed
        index.mark_saved()
        assert "ids/0" in index.changes().written
        index.delete(index.ids[:900])
        index.compact()
        assert {"ids/1", "vectors/3"} <= set(index.changes().removed)

    def test_what_was_written_bit_by_bit_is_the_whole(self):
        """Writes fail now and then; what the store holds after one that did not is the index."""
        index, _, queries = self.filled(count=1200)
        random = np.random.default_rng(2)
        store: dict[str, bytes] = {}
        for round in range(40):
            if round % 8 == 3:
                index.delete(random.permutation(index.ids)[:3])
            elif round == 20:
                index.compact()
            elif round:
                index.add([5 + 10 * round], queries[round % 8][None] + random.normal(0, 0.1, 16))
            changes = index.changes()
            if round % 4 == 3:
                continue  # that write failed
            store = {name: segment for name, segment in store.items() if name not in changes.removed} | changes.written
            index.mark_saved()
            assert store == index.segments()

    def test_vectors_may_live_elsewhere(self):
        index, held, queries = self.filled()
        segments = index.segments(vectors=False)
        assert not any(name.startswith("vectors") for name in segments)
        again = type(index).from_segments(segments, vectors=lambda ids: np.array([held[id] for id in ids.tolist()]))
        assert (again.search(queries, 10).ids == index.search(queries, 10).ids).all()
        assert again.changes(vectors=False) == hnsw_pure.Changes({}, ())
        with pytest.raises(hnsw_pure.CorruptSegmentError):
            type(index).from_segments(segments)

    def test_damaged_segments_are_refused(self):
        whole = self.filled(count=40)[0].segments()

        @given(
            name=st.sampled_from(sorted(whole)),
            damage=st.sampled_from(("flip", "cut", "lose", "extend")),
            at=st.floats(0, 1),
            bit=st.integers(0, 7),
        )
        @example(name="head", damage="flip", at=4 / len(whole["head"]), bit=0)  # the version becomes zero
        def refuses(name, damage, at, bit):
            segments = dict(whole)
            segment = segments.pop(name)
            at = min(int(at * len(segment)), len(segment) - 1)
            flipped = segment[:at] + bytes([segment[at] ^ (1 << bit)]) + segment[at + 1 :]
            if damage != "lose":
                segments[name] = {"flip": flipped, "cut": segment[:at], "extend": segment + b"\0"}[damage]
            with pytest.raises(hnsw_pure.SegmentError):
                type(self.make(16)).from_segments(segments)

        refuses()

    def test_a_segment_of_another_moment_is_refused(self):
        index, _, _ = self.filled(count=40)
        older = index.segments()
        index.delete([10])
        with pytest.raises(hnsw_pure.CorruptSegmentError, match="another moment"):
            type(index).from_segments(index.segments() | {"ids/0": older["ids/0"]})

    def test_newer_and_foreign_segments_are_refused(self):
        index, _, _ = self.filled(count=40)
        segments = index.segments()
        newer = segments["head"][:4] + (99).to_bytes(4, "little") + segments["head"][8:]
        with pytest.raises(hnsw_pure.NewerSegmentError, match="99"):
            type(index).from_segments(segments | {"head": newer})
        other = hnsw_pure.BruteForce if isinstance(index, hnsw_pure.HNSW) else hnsw_pure.HNSW
        with pytest.raises(hnsw_pure.SegmentError, match="kind"):
            other.from_segments(segments)

    def test_damaged_file_is_refused(self):
        index, _, _ = self.filled(count=40)
        file = io.BytesIO()
        index.save(file)
        for size in (0, 5, 30, len(file.getvalue()) // 2, len(file.getvalue()) - 1):
            with pytest.raises(hnsw_pure.CorruptSegmentError):
                type(index).load(io.BytesIO(file.getvalue()[:size]))

    @pytest.mark.parametrize(
        "ids, vectors, error",
        [
            ([1, 2], np.ones((2, 15)), hnsw_pure.DimensionError),
            ([1, 2], np.ones((3, 16)), hnsw_pure.DimensionError),
            ([1], np.ones((1, 1, 16)), hnsw_pure.DimensionError),
            ([1], [["a"] * 16], hnsw_pure.DimensionError),
            ([], np.ones((1, 16)), hnsw_pure.DimensionError),
            ([1, 2], np.ones((2, 16)) * [[1], [np.nan]], hnsw_pure.NonFiniteError),
            ([1, 2], np.ones((2, 16)) * [[1], [-np.inf]], hnsw_pure.NonFiniteError),
            ([1, 2], np.ones((2, 16)) * [[1], [1e300]], hnsw_pure.NonFiniteError),
            ([1, 2], np.ones((2, 16)) * [[1], [0]], hnsw_pure.ZeroVectorError),
            ([1, 10], np.ones((2, 16)), hnsw_pure.DuplicateIdError),
            ([1, 1], np.ones((2, 16)), hnsw_pure.DuplicateIdError),
            ([1, -1], np.ones((2, 16)), hnsw_pure.InvalidIdError),
            ([1.0], np.ones((1, 16)), hnsw_pure.InvalidIdError),
            ([True], np.ones((1, 16)), hnsw_pure.InvalidIdError),
            ([2**63], np.ones((1, 16)), hnsw_pure.InvalidIdError),
            (["1"], np.ones((1, 16)), hnsw_pure.InvalidIdError),
            (None, np.ones((1, 16)), hnsw_pure.InvalidIdError),
        ],
    )
    def test_refused_additions_change_nothing(self, ids, vectors, error):
        index, _, _ = self.filled(count=40)
        before = index.segments()
        with pytest.raises(error) as raised:
            index.add(ids, vectors)
        assert isinstance(raised.value, hnsw_pure.HNSWError) and isinstance(raised.value, ValueError)
        assert index.segments() == before

    @pytest.mark.parametrize(
        "ids, error", [([10, 11], hnsw_pure.UnknownIdError), ([10, 10], hnsw_pure.DuplicateIdError), ([10, -1], hnsw_pure.InvalidIdError)]
    )
    def test_refused_deletions_change_nothing(self, ids, error):
        index, _, _ = self.filled(count=40)
        before = index.segments()
        with pytest.raises(error):
            index.delete(ids)
        assert index.segments() == before

    @pytest.mark.parametrize(
        "arguments, error",
        [
            ({"queries": np.ones((1, 15))}, hnsw_pure.DimensionError),
            ({"queries": np.full((1, 16), np.nan)}, hnsw_pure.NonFiniteError),
            ({"queries": np.zeros((1, 16))}, hnsw_pure.ZeroVectorError),
            ({"k": 0}, hnsw_pure.ParameterError),
            ({"k": 1.5}, hnsw_pure.ParameterError),
            ({"k": 10, "ef": 9}, hnsw_pure.EfError),
            ({"where": [-1]}, hnsw_pure.InvalidIdError),
            ({"where": np.ones(40, bool)}, hnsw_pure.InvalidIdError),
            ({"where": lambda ids: [True]}, hnsw_pure.ParameterError),
        ],
    )
    def test_refused_searches(self, arguments, error):
        index, _, _ = self.filled(count=40)
        with pytest.raises(error):
            index.search(**{"queries": np.ones((1, 16)), **arguments})

    @pytest.mark.parametrize("dim, metric", [(0, "cosine"), (2.0, "cosine"), (True, "l2"), (4, "euclid")])
    def test_refused_settings(self, dim, metric):
        with pytest.raises(hnsw_pure.ParameterError):
            self.make(dim, metric)

    def test_unknown_id_is_a_key_error(self):
        index, _, _ = self.filled(count=40)
        with pytest.raises(KeyError, match="id 11 is not in the index"):
            index.vectors([10, 11])

    def test_progress_and_cancel(self):
        index, held, _ = self.filled(count=40)
        new = Clustered(16, seed=9, topics=3).draw(600)
        seen = []
        index.add(np.arange(600) + 1000, new, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(256, 600), (512, 600), (600, 600)]
        index.delete(np.arange(600) + 1000)
        before = contents(index)

        def cancel(done, total):
            if done > 300:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            index.add(np.arange(600) + 1000, new, progress=cancel)
        assert contents(index) == before
