"""What can be asked of the witness log: any combination of criteria, the questions of a postmortem, figures, and its export."""

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.errors import ConfigError, FilterError, NotFoundError
from pyruvllm.memory.audit.aggregates import BUCKETS
from pyruvllm.memory.session import SessionIndex
from pyruvllm.memory.witness import WitnessLog
from pyruvllm.types import ErrorInfo, Latency
from tests.contracts.stores import another, entry, vector

HOUR = 3600 * 1000
NOW = 1_700_000_000_000  # of the contracts' clock
STEPS = ("embedding_ms", "retrieval_ms", "routing_ms", "attention_ms", "generation_ms", "total_ms")


def ids(entries) -> list[int]:
    return [int(entry.request_id.removeprefix("request-")) for entry in entries]


def some(number: int):
    """Of 24 entries, such that every criterion divides them, and no two in the same way."""
    return entry(
        number,
        quality_score=None if number % 5 == 0 else (number % 5) / 5,
        model_used="large" if number % 4 == 1 else "small",
        session_id=f"session-{number % 3}",
        error=None if number % 3 else ErrorInfo("QuotaError" if number % 2 else "FilterError", f"broken {number}"),
        latency=Latency(total_ms=float(number)),
        hold="asked for" if number % 7 == 2 else None,
    )


CRITERIA = {
    "since": [(NOW + 6, lambda n: n >= 6)],
    "until": [(NOW + 19, lambda n: n < 19)],
    "quality_below": [(0.5, lambda n: n % 5 and n % 5 / 5 < 0.5)],
    "quality_at_least": [(0.4, lambda n: n % 5 / 5 >= 0.4)],
    "rated": [(True, lambda n: n % 5), (False, lambda n: not n % 5)],
    "model": [("small", lambda n: n % 4 != 1)],
    "session": [("session-1", lambda n: n % 3 == 1), ("session-0", lambda n: n % 3 == 0)],
    "error": [
        ("QuotaError", lambda n: n % 3 == 0 and n % 2),
        (True, lambda n: n % 3 == 0),
        (False, lambda n: n % 3),
    ],
    "slower_than": [(4.0, lambda n: n > 4)],
    "held": [(True, lambda n: n % 7 == 2), (False, lambda n: n % 7 != 2)],
    "where": [({"context_ids": {"$contains": "passage-8"}}, lambda n: n == 8), ({"routing.confidence": {"$gt": 0.003}}, lambda n: n > 3)],
}
PAIRS = [((a, x), (b, y)) for a, b in product(CRITERIA, CRITERIA) if a < b for x in CRITERIA[a] for y in CRITERIA[b]]


KEYS = "session model quality timestamp hold user error error.kind error.message latency.total_ms id text".split()
TEXTS = ["", "small", "session-1", "QuotaError", "asked for", "broken 3", "request-7"]
VALUES = st.sampled_from([None, True, False, 0, 0.4, 7, NOW + 9, *TEXTS])
OPERATORS = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$exists", "$contains"])


def possible(test) -> bool:
    """Leaves out what the filter language refuses."""
    key, (operator, value) = test
    if key in ("text", "id") or operator == "$exists":
        return isinstance(value, str if operator != "$exists" else bool)
    return operator not in ("$gt", "$gte", "$lt", "$lte") or not (value is None or isinstance(value, bool))


TESTS = st.tuples(st.sampled_from(KEYS), st.tuples(OPERATORS, VALUES)).filter(possible).map(lambda test: {test[0]: dict([test[1]])})
FILTERS = st.lists(
    st.one_of(
        TESTS,
        st.lists(TESTS, min_size=1, max_size=2).map(lambda some: {"$or": some}),
        st.lists(TESTS, min_size=1, max_size=2).map(lambda some: {"$and": some}),
        TESTS.map(lambda one: {"$not": one}),
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: {**parts[0], **({"$and": parts[1:]} if parts[1:] else {})})


async def opened(open_memory, entries, name="main"):
    log = WitnessLog(await open_memory(name))
    for each in entries:
        log.record(each)
    return log


class AuditContract:
    async def test_any_two_criteria_go_together(self, open_memory):
        log = await opened(open_memory, map(some, range(24)))
        for (a, (x, holds)), (b, (y, also)) in PAIRS:
            found = await log.find(**{a: x, b: y}, limit=30)
            expected = [n for n in reversed(range(24)) if holds(n) and also(n)]
            assert (ids(found.entries), found.total) == (expected, len(expected)), (a, x, b, y)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.sampled_from([(name, choice) for name in CRITERIA for choice in CRITERIA[name]]), max_size=11), st.integers(0, 23))
    async def test_any_combination_goes_with_similarity(self, open_memory, chosen, like):
        if not hasattr(self, "log"):
            type(self).log = await opened(open_memory, map(some, range(24)), another())
        picked = {name: choice for name, choice in chosen}
        criteria = {name: value for name, (value, _) in picked.items()}
        expected = {n for n in range(24) if all(holds(n) for _, holds in picked.values())}
        for found, there in (
            (await self.log.find(**criteria, limit=30), expected),
            (await self.log.find("what about number3", **criteria, limit=30), expected),
            (await self.log.find(vector(7), **criteria, limit=30), expected),
            (await self.log.find(like=f"request-{like}", **criteria, limit=30), expected - {like}),
        ):
            assert (set(ids(found.entries)), found.total) == (there, len(there))

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(FILTERS)
    async def test_typed_columns_answer_as_the_metadata_does(self, open_memory, where):
        if not hasattr(self, "typed"):
            type(self).typed = await opened(open_memory, map(some, range(24)), another())
        assert self.typed.count(where) == self.typed.memory.count("witness", where)

    async def test_the_nearest_come_first_and_in_pages(self, open_memory):
        log = await opened(open_memory, [entry(n, query_embedding=None if n == 3 else vector(n)) for n in range(8)])
        whole = ids((await log.find(vector(5), limit=7)).entries)
        assert whole[0] == 5 and set(whole) == set(range(8)) - {3}
        paged = [(await log.find(vector(5), limit=3, offset=at)).entries for at in (0, 3, 6)]
        assert [n for page in paged for n in ids(page)] == whole
        like = await log.find(like="request-3", limit=3)  # it has no embedding: its words are looked up
        assert like.entries and 3 not in ids(like.entries)
        assert [ids((await log.find(limit=3, offset=at)).entries) for at in (0, 3, 6)] == [[7, 6, 5], [4, 3, 2], [1, 0]]
        assert ids((await log.find("  ", limit=2)).entries) == [7, 6]

    async def test_a_user_is_that_of_the_session(self, open_memory):
        memory = await open_memory()
        SessionIndex(memory).open("session-1", user_id="ann")
        log = WitnessLog(memory)
        for n in range(6):
            log.record(entry(n))
        log.record(entry(6, user_id="bob"))
        await log.flush()
        assert ids((await log.find(user="ann")).entries) == [4, 1]
        assert ids((await log.find(user="bob")).entries) == [6]
        await SessionIndex(memory).delete("session-1")
        assert log.get("request-1").user_id == "ann"

    async def test_what_is_no_criterion_is_refused(self, open_memory):
        log = await opened(open_memory, [entry(1)])
        with pytest.raises(ConfigError, match="'quality' is no criterion"):
            await log.find(quality=0.5)
        with pytest.raises(ConfigError, match="not both"):
            await log.find("x", like="request-1")
        with pytest.raises(ConfigError, match="order is"):
            log.list(order="model")
        with pytest.raises(FilterError):
            await log.find(where={"quality": {"$near": 1}})
        with pytest.raises(NotFoundError):
            await log.find(like="nobody")

    @pytest.mark.parametrize(
        ("criteria", "reason"),
        [
            ({"since": "2026-01-01"}, "since is '2026-01-01'; a number of UTC milliseconds"),
            ({"until": True}, "until is True"),
            ({"quality_below": "0.5"}, "quality_below is '0.5'; a number"),
            ({"slower_than": float("nan")}, "slower_than is nan"),
            ({"model": 3}, "model is 3; a string"),
            ({"session": ["a"]}, "session is"),
            ({"rated": "yes"}, "rated is 'yes'; True or False"),
            ({"held": 1}, "held is 1"),
            ({"error": 404}, "error is 404"),
            ({"where": "quality"}, "where is 'quality'; a filter"),
        ],
    )
    async def test_a_criterion_of_another_kind_is_refused(self, open_memory, criteria, reason):
        log = await opened(open_memory, [entry(1)])
        with pytest.raises(ConfigError, match=reason):
            await log.find(**criteria)
        with pytest.raises(ConfigError, match=reason):
            log.aggregate(**criteria)

    async def test_low_quality(self, open_memory):
        log = await opened(open_memory, [entry(n, quality_score=[None, 0.0, 0.49, 0.5, 1.0][n]) for n in range(5)])
        found = log.low_quality()
        assert (ids(found.entries), found.total) == ([2, 1], 2)
        assert ids(log.low_quality(0.51, limit=1, offset=1).entries) == [2]

    async def test_errors_similar_to_one(self, open_memory):
        memory = await open_memory()
        asked = {
            0: ("the tide in the harbour", "QuotaError"),
            1: ("the lease of the flat", "QuotaError"),
            2: ("the tide in the harbour now", None),
            3: ("the tide in our harbour", "FilterError"),
            4: ("tide and harbour", "QuotaError"),
            5: ("sourdough", "FilterError"),
        }
        log = WitnessLog(memory)
        for number, (text, kind) in asked.items():
            [embedding] = await memory.embedder.embed([text])
            log.record(entry(number, query=text, query_embedding=embedding, error=ErrorInfo(kind, "why") if kind else None))
        found = await log.similar_errors("request-0")
        assert (ids(found.entries), found.total) == ([4, 1, 3, 5], 4)
        assert ids((await log.similar_errors("request-0", 1)).entries) == [4]
        assert set(ids((await log.similar_errors("request-2")).entries)) == {0, 1, 3, 4, 5}
        with pytest.raises(NotFoundError):
            await log.similar_errors("nobody")

    async def test_latency_spikes_of_the_last_hour(self, open_memory):
        usual = [entry(n, latency=Latency(total_ms=100 + n % 7), timestamp=NOW - n * 20 * 60_000) for n in range(60)]  # 20 hours
        spikes = [(60, 900, NOW - 60_000), (61, 500, NOW - HOUR + 1), (62, 2000, NOW - 2 * HOUR), (63, 150, NOW - 5)]
        log = await opened(open_memory, [*usual, *(entry(n, latency=Latency(total_ms=ms), timestamp=at) for n, ms, at in spikes)])
        found = log.latency_spikes()
        assert (ids(found.entries), found.total) == ([60, 61], 2)
        assert found.median_ms == np.median([each.latency.total_ms for each in log.list(limit=None)])
        assert found.threshold_ms == 2 * found.median_ms
        assert ids(log.latency_spikes(3 * HOUR).entries) == [62, 60, 61]
        log.memory.clock.now += 30 * HOUR
        assert log.latency_spikes().entries == [] and log.latency_spikes().median_ms is None
        with pytest.raises(ConfigError, match="within_ms"):
            log.latency_spikes(0)

    async def test_where_latencies_vary_widely_a_spike_is_further_out(self, open_memory):
        usual = np.random.default_rng(5).uniform(10, 400, 200)
        log = await opened(open_memory, [entry(n, latency=Latency(total_ms=ms), timestamp=NOW - n) for n, ms in enumerate(usual)])
        found = log.latency_spikes()
        spread = np.median(np.abs(usual - np.median(usual))) * 1.4826
        assert found.threshold_ms == pytest.approx(np.median(usual) + 5 * spread)
        assert found.total == 0

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, 10**6), st.integers(0, 60), st.sampled_from([1, 7, 60, 1000]), st.integers(-5, 50))
    async def test_figures_are_numpys(self, open_memory, seed, count, bucket, origin):
        rng = np.random.default_rng(seed)
        times = NOW + rng.integers(0, 300, count)
        latency = rng.exponential(20, (count, len(STEPS)))
        quality = np.where(rng.random(count) < 0.6, rng.random(count), np.nan)
        models, failed = rng.integers(0, 3, count), rng.random(count) < 0.3
        log = await opened(
            open_memory,
            [
                entry(
                    n,
                    timestamp=int(times[n]),
                    latency=Latency(*latency[n].tolist()),
                    quality_score=None if np.isnan(quality[n]) else float(quality[n]),
                    model_used=f"model {models[n]}",
                    error=ErrorInfo("E", "") if failed[n] else None,
                )
                for n in range(count)
            ],
            another(),
        )
        summary = log.aggregate(bucket, origin=origin)
        assert sum(figures.count for figures in summary.buckets) == summary.total.count == count
        for figures in (summary.total, *summary.buckets):
            inside = (times >= figures.start) & (times < figures.end)
            assert figures.count == inside.sum() and figures.errors == (inside & failed).sum()
            assert figures.error_rate == (pytest.approx(failed[inside].mean()) if inside.any() else None)
            rated = quality[inside & ~np.isnan(quality)]
            assert figures.rated == len(rated) and figures.quality == (pytest.approx(rated.mean()) if len(rated) else None)
            assert sum(figures.models.values()) == figures.count
            assert all(figures.models[f"model {m}"] == (models[inside] == m).sum() for m in set(models[inside]))
            for place, step in enumerate(STEPS):
                if figures.count:
                    assert figures.latency[step] == pytest.approx(np.percentile(latency[inside, place], [50, 90, 99]).tolist())
            assert (figures.latency is None) == (figures.count == 0)
        for earlier, later in zip(summary.buckets, summary.buckets[1:], strict=False):
            assert earlier.end == later.start
        assert all((figures.start - origin) % bucket == 0 and figures.end - figures.start == bucket for figures in summary.buckets)
        known = ~np.isnan(quality)
        if len(set(times[known].tolist())) > 1:
            slope = np.polyfit((times[known] - NOW) / 86_400_000, quality[known], 1)[0]
            assert summary.trend == pytest.approx(slope, rel=1e-6, abs=1e-6)
        else:
            assert summary.trend is None

    async def test_figures_of_some_entries(self, open_memory):
        log = await opened(open_memory, map(some, range(24)))
        summary = log.aggregate(None, session="session-0", since=NOW + 3)
        assert (summary.total.count, summary.total.errors, summary.buckets) == (7, 7, ())
        assert summary.total.models == {"small": 5, "large": 2}
        with pytest.raises(ConfigError, match="bucket_ms"):
            log.aggregate(0)
        log.record(entry(99, timestamp=NOW + 10**9))
        with pytest.raises(ConfigError, match="buckets"):
            log.aggregate(1)

    async def test_buckets_that_nobody_chose_are_fit_for_any_span(self, open_memory):
        log, sizes = await opened(open_memory, [entry(1)]), []
        for number, days in enumerate((1, 300, 6000, 100_000), 2):
            log.record(entry(number, timestamp=NOW + days * 86_400_000))
            summary = log.aggregate()
            assert sum(figures.count for figures in summary.buckets) == summary.total.count == number
            assert len(summary.buckets) <= BUCKETS
            sizes.append((summary.buckets[0].end - summary.buckets[0].start) / 86_400_000)
        assert sizes == [1 / 24, 1, 7, 28]

    async def test_lines_of_json(self, open_memory):
        log = await opened(open_memory, [some(1), some(6)])
        plain = [json.loads(line) for line in log.jsonl()]
        assert [line["gen_ai.response.id"] for line in plain] == ["request-1", "request-6"]
        first, second = plain
        assert first["timestamp"] == NOW + 1 and first["gen_ai.operation.name"] == "chat"
        assert first["gen_ai.conversation.id"] == "session-1" and first["gen_ai.request.model"] == "1.2B"
        assert first["gen_ai.response.model"] == "large" and first["gen_ai.evaluation.score.value"] == 0.2
        assert first["gen_ai.retrieval.documents"] == [{"id": "passage-1"}, {"id": "passage-x"}]
        assert second["error.type"] == "FilterError" and "error.type" not in first
        assert not any("matter" in json.dumps(line) or "broken" in json.dumps(line) for line in plain)
        whole = [json.loads(line) for line in log.jsonl(text=True, embeddings=True, error=True)]
        assert len(whole) == 1 and "matter number6" in whole[0]["gen_ai.retrieval.query.text"]
        assert whole[0]["error.message"] == "broken 6"
        assert np.allclose(whole[0]["pyruvllm.response_embedding"], log.get("request-6").response_embedding)

    async def test_an_export_is_the_oldest_first_whatever_its_length(self, open_memory):
        log = await opened(open_memory, [entry(n, timestamp=NOW + n // 3) for n in range(603)])
        exported = [json.loads(line)["gen_ai.response.id"] for line in log.jsonl()]
        assert exported == [f"request-{n}" for n in range(603)]
        assert len(json.loads(log.otlp(until=NOW + 2))["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 6 * 6
