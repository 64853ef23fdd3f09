"""What the store of patterns promises. Bound by ``open_memory`` of ``tests.contracts.stores``."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.errors import ConfigError, NotFoundError
from pyruvllm.memory.parameters import PatternPolicy
from pyruvllm.memory.patterns import DAY_MS, PatternStore
from pyruvllm.types import Draft
from tests.contracts.likeness import near
from tests.contracts.stores import another, tables, vector


class PatternContract:
    async def test_a_lesson_comes_back_with_what_it_was_learned_from(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory)
        memory.put("witness", [Draft("asked", "w1"), Draft("asked again", "w2")])
        learned = patterns.learn(
            "Say where it is kept", vector(1), kind="style", parameters={"k": 3}, quality=0.75, learned_from=["w1", "w2"]
        )
        await memory.close()
        memory = await open_memory()
        patterns = PatternStore(memory)
        pattern = patterns.get(learned.id)
        assert (pattern.text, pattern.kind, pattern.parameters, pattern.quality) == ("Say where it is kept", "style", {"k": 3}, 0.75)
        assert (pattern.size, pattern.uses, pattern.learned_at) == (1, 0, learned.learned_at)
        np.testing.assert_allclose(pattern.embedding, vector(1), atol=1e-3)
        assert set(patterns.learned_from(learned.id)) == {"w1", "w2"}
        await memory.delete(["w1"])
        assert patterns.learned_from(learned.id) == ["w2"]
        assert [found.id for found in await memory.search("kept", 1, collections="patterns")] == [learned.id]

    async def test_lessons_of_a_kind_that_are_near_are_one_pattern(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory)
        one = patterns.learn("first", near(1, 1.0), parameters={"a": 1}, quality=0.5, learned_from=["w1"])
        same = patterns.learn("second", near(2, 0.9), parameters={"a": 2}, quality=0.9, learned_from=["w2"])
        other = patterns.learn("third", near(3, 0.5))
        style = patterns.learn("fourth", near(4, 0.99), kind="style")
        assert same.id == one.id and len({one.id, other.id, style.id}) == 3 and patterns.count() == 3
        assert (same.text, same.parameters, same.size, same.quality) == ("first", {"a": 2}, 2, pytest.approx(0.7))
        centre = near(1, 1.0) + near(2, 0.9)
        np.testing.assert_allclose(patterns.get(one.id).embedding, centre / np.linalg.norm(centre), atol=2e-3)
        assert set(patterns.learned_from(one.id)) == {"w1", "w2"}
        worse = patterns.learn("fifth", near(1, 1.0), parameters={"a": 3}, quality=0.1)
        assert worse.parameters == {"a": 2} and worse.size == 3

    async def test_a_kind_among_many_of_another_is_found(self, open_memory):
        patterns = PatternStore(await open_memory(), PatternPolicy(similarity=0.999))
        for number in range(40):
            patterns.learn(f"answer {number}", near(100 + number, 0.95))
        rare = patterns.learn("rare", near(7, 0.9), kind="style")
        assert [found.id for found, _ in patterns.match(vector(0), 3, kind="style")] == [rare.id]
        patterns = PatternStore(patterns.memory)
        assert patterns.learn("again", near(7, 0.9), kind="style").id == rare.id

    async def test_match_is_by_likeness_kind_cosine_and_quality(self, open_memory):
        patterns = PatternStore(await open_memory(), PatternPolicy(similarity=0.999))
        cosines = {"near": 0.8, "nearer": 0.9, "far": 0.3, "bad": 0.95}
        ids = {
            name: patterns.learn(name, near(place, cosine), quality=0.2 if name == "bad" else 0.8).id
            for place, (name, cosine) in enumerate(cosines.items(), 1)
        }
        found = patterns.match(vector(0), 5)
        assert [(pattern.text, pytest.approx(cosine, abs=3e-3)) for pattern, cosine in found] == [
            ("nearer", 0.9),
            ("near", 0.8),
            ("far", 0.3),
        ]
        assert [pattern.text for pattern, _ in patterns.match(vector(0), 1)] == ["nearer"]
        assert [pattern.text for pattern, _ in patterns.match(vector(0), 5, least=0.5)] == ["nearer", "near"]
        assert patterns.match(vector(0), kind="nothing") == []
        patterns.reinforce(ids["bad"], 1.0)
        assert [pattern.text for pattern, _ in patterns.match(vector(0), 1)] == ["bad"]

    async def test_outcomes_move_the_quality_and_the_edges(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory)
        pattern = patterns.learn("x", vector(1), quality=0.5, learned_from=["w1"])
        memory.clock.now += 1000
        better = patterns.reinforce(pattern.id, 1.0)
        assert (better.quality, better.uses, better.last_used) == (pytest.approx(0.75), 1, memory.clock.now)
        assert memory.graph.edges(pattern.id)[0].weight == pytest.approx(1.05)
        for _ in range(30):
            patterns.reinforce(pattern.id, 1.0)
        before = patterns.get(pattern.id).quality
        worse = patterns.reinforce(pattern.id, 0.0)
        assert worse.quality == pytest.approx(before * 0.9) and before > 0.95
        with pytest.raises(NotFoundError):
            patterns.reinforce("nobody", 1.0)

    async def test_quality_halves_with_every_half_life_without_use(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory, PatternPolicy(half_life_days=10))
        idle, used = (patterns.learn(name, vector(place), quality=0.8) for place, name in enumerate(("idle", "used")))
        assert patterns.decay() == 0
        memory.clock.now += 5 * DAY_MS
        patterns.reinforce(used.id, 0.8)
        memory.clock.now += 5 * DAY_MS
        assert patterns.decay(limit=1) == 1 and patterns.get(idle.id).quality == pytest.approx(0.4)
        assert patterns.decay() == 1 and patterns.decay() == 0
        assert patterns.get(used.id).quality == pytest.approx(0.8 * 0.5**0.5)
        memory.clock.now += 10 * DAY_MS
        patterns.decay()
        assert patterns.get(idle.id).quality == pytest.approx(0.2)

    async def test_patterns_that_came_near_are_made_one(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory, PatternPolicy(similarity=0.99))
        ids = [patterns.learn(f"n{number}", near(number, 0.95), learned_from=[f"w{number}"]).id for number in range(1, 4)]
        far = patterns.learn("far", vector(9))
        patterns = PatternStore(memory, PatternPolicy)  # what is in force when it is asked
        assert patterns.consolidate() == 2 and patterns.count() == 2
        left = next(id for id in ids if any(pattern.id == id for pattern in patterns.list()))
        assert patterns.get(left).size == 3 and patterns.get(far.id).size == 1
        assert set(patterns.learned_from(left)) == {"w1", "w2", "w3"}
        assert patterns.consolidate() == 0

    async def test_over_the_capacity_the_least_useful_go(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory, PatternPolicy(capacity=5))
        for number in range(5):
            patterns.learn(f"p{number}", vector(number), quality=0.5 + number / 100)
        patterns.reinforce(patterns.match(vector(0), 1)[0][0].id, 1.0)
        patterns.learn("new", vector(9), quality=0.9, learned_from=["w"])
        assert {pattern.text for pattern in patterns.list()} == {"p0", "p2", "p3", "p4", "new"}
        left = tables(memory)
        assert left["records"] == left["vectors"] == 5

    async def test_removed_by_whoever_it_leaves_nothing(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory)
        before = tables(memory)
        one, two = (patterns.learn(name, vector(place), learned_from=["w"]) for place, name in enumerate("ab"))
        assert patterns.count() == 2
        await memory.delete([one.id])
        assert patterns.count() == 1 and [found.id for found, _ in patterns.match(vector(0))] == [two.id]
        assert patterns.remove([two.id]) == 1
        assert tables(memory) == before and memory.driver.query("SELECT count(*) FROM patterns") == [(0,)]
        memory.put("documents", [Draft("no pattern", "d")])
        for call in (lambda: patterns.remove(["d"]), lambda: patterns.get("d"), lambda: patterns.learned_from("d")):
            with pytest.raises(NotFoundError):
                call()
        assert memory.get("d").text == "no pattern"

    async def test_a_failed_transaction_learned_nothing(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory)
        known = patterns.learn("known", near(1, 1.0), learned_from=["w1"])
        before = tables(memory)
        with pytest.raises(ZeroDivisionError), memory.transaction():
            patterns.learn("more of it", near(2, 0.95), learned_from=["w2"])
            patterns.learn("new", vector(5))
            assert patterns.count() == 2
            raise ZeroDivisionError
        assert tables(memory) == before and patterns.count() == 1
        assert patterns.get(known.id).size == 1 and patterns.learned_from(known.id) == ["w1"]
        assert len(patterns.match(vector(5), 5)) == 1

    async def test_what_cannot_be_is_refused(self, open_memory):
        memory = await open_memory()
        patterns = PatternStore(memory)
        for text, embedding, options in (
            ("", vector(1), {}),
            ("x", None, {}),
            ("x", np.zeros(768), {}),
            ("x", np.ones(3), {}),
            ("x", np.full(768, np.nan), {}),
            ("x", vector(1), {"kind": ""}),
            ("x", vector(1), {"quality": 1.5}),
            ("x", vector(1), {"parameters": {"a": object()}}),
            ("x", vector(1), {"learned_from": "w1"}),
            ("x", vector(1), {"learned_from": ["w1", None]}),
        ):
            with pytest.raises(ConfigError):
                patterns.learn(text, embedding, **options)
        assert patterns.count() == 0 and tables(memory)["records"] == 0

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(
        lessons=st.lists(
            st.tuples(st.sampled_from(["answer", "style"]), st.integers(0, 3), st.sampled_from([0.99, 0.9]), st.floats(0, 1)), max_size=12
        )
    )
    async def test_nothing_that_was_learned_is_lost(self, open_memory, lessons):
        """Every lesson is in one pattern: sizes, sources and qualities add up."""
        memory = await open_memory(another())
        patterns = PatternStore(memory)
        for place, (kind, base, cosine, quality) in enumerate(lessons):
            centre, other = vector(base), vector(50 + place)
            other = other - (other @ centre) * centre
            lesson = cosine * centre + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)
            patterns.learn(f"lesson {place}", lesson, kind=kind, quality=quality, learned_from=[f"w{place}"])
        patterns.consolidate()
        kept = patterns.list()
        assert sum(pattern.size for pattern in kept) == len(lessons)
        assert sum(pattern.size * pattern.quality for pattern in kept) == pytest.approx(sum(lesson[3] for lesson in lessons))
        sources = [source for pattern in kept for source in patterns.learned_from(pattern.id)]
        assert sorted(sources) == sorted(f"w{place}" for place in range(len(lessons)))
        for kind in ("answer", "style"):
            of_kind = [pattern for pattern in kept if pattern.kind == kind]
            assert all(np.linalg.norm(pattern.embedding) == pytest.approx(1, abs=2e-3) for pattern in of_kind)
        await memory.close()
