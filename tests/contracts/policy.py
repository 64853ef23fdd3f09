"""What the policy store promises."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.cache.quantize import decide
from pyruvllm.config import PolicyConfig
from pyruvllm.errors import ConfigError, DuplicateError, NotFoundError
from pyruvllm.memory.parameters import MODELS, EwcPolicy, KernelPolicy, PatternPolicy
from pyruvllm.memory.policy import BUNDLED, SOURCES, Fallback, PolicyEntry, PolicyStore, QuantizationPolicy, RouterPolicy
from pyruvllm.routing.router import PolicyRouter
from tests.contracts.stores import another, settings_at, tables, vector
from tests.contracts.writeback import HandClock


class PolicyContract:
    async def test_bundled_defaults_are_there_once_and_marked_so(self, open_memory):
        memory = await open_memory()
        store = PolicyStore(memory)
        before = tables(memory)
        await memory.close()
        memory = await open_memory()
        store = PolicyStore(memory)
        assert tables(memory) == before
        assert before["policies"] == len(BUNDLED)
        assert {(entry.policy_type, entry.source, entry.confidence) for entry in store.list()} == {
            (name, "bundled", 0.0) for name in ("router", "quantization", "ewc", "pattern", "kernel")
        }
        router = store.latest("router")
        assert router.typed() == RouterPolicy(Fallback("1.2B", 2048, 0.7, 0.9), confidence_threshold=0.7)
        assert router.parameters["fallback"] == {"model": "1.2B", "context_size": 2048, "temperature": 0.7, "top_p": 0.9}
        assert isinstance(store.latest("quantization").typed(), QuantizationPolicy)
        assert store.latest("kernel").typed() == KernelPolicy("", ""), "nothing was measured yet"
        assert store.get(router.id).parameters == router.parameters

    async def test_every_type_has_its_parameters_and_others_are_free(self, open_memory):
        store = PolicyStore(await open_memory())
        assert store.latest("ewc").typed() == EwcPolicy() and store.latest("pattern").typed() == PatternPolicy()
        kernel = store.put(PolicyEntry("kernel", {"pack": "core", "engine": "e", "statistics": {}}, "instant_loop"))
        assert kernel.typed() == KernelPolicy("core", "e")
        with pytest.raises(ConfigError, match="'weather' has no parameters of a kind"):
            PolicyEntry("weather", {"wind": 3}, "federated").typed()

    async def test_a_router_policy_may_leave_out_what_is_as_by_default(self, open_memory):
        store = PolicyStore(await open_memory())
        router = PolicyRouter(store)
        assert router.route() == router.stated()
        for parameters, model in (({"confidence_threshold": 0.9}, "1.2B"), ({"fallback": {"model": "700M"}}, "700M")):
            put = store.put(PolicyEntry("router", parameters, "background_loop", confidence=0.25))
            routed = router.route()
            assert (routed.model, routed.context_size, routed.temperature, routed.top_p) == (model, 2048, 0.7, 0.9)
            assert (routed.policy, routed.confidence) == (put.id, 0.25)
            assert routed.model_probs == tuple(float(name == model) for name in MODELS)

    async def test_a_quantization_policy_decides_how_a_cache_is_kept(self, open_memory):
        store = PolicyStore(await open_memory())
        bundled = decide(store.latest("quantization").parameters)
        assert (bundled.tail, bundled.old, bundled.layers) == (256, "q8", (0, 16))
        store.put(PolicyEntry("quantization", {"tail_length": 64, "precision": "q4_k", "layer_range": [2, 8]}, "deep_loop"))
        pressed = decide(store.latest("quantization").parameters, importance=0.0, pressure=1.0)
        assert (pressed.tail, pressed.old, pressed.layers) == (64, "q8q4", (2, 8))

    async def test_a_read_only_memory_answers_with_the_defaults_too(self, open_memory):
        writer = await open_memory()
        await writer.flush()
        reader = await open_memory(readonly=True)
        store = PolicyStore(reader)
        assert store.latest("router").source == "bundled"
        assert store.get(store.latest("router").id).policy_type == "router"

    async def test_every_field_comes_back(self, open_memory):
        memory = await open_memory()
        fisher = np.random.default_rng(1).random(1000).astype(np.float32)
        times = (1_600_000_000_001, 1_600_000_000_002)
        entry = PolicyStore(memory).put(
            PolicyEntry("ewc", {"task": "a", "weights": [0.25] * 1000}, "deep_loop", 0.75, vector(5), fisher, "p1", *times)
        )
        await memory.close()
        memory = await open_memory()
        kept = PolicyStore(memory).list("ewc")[1]  # the bundled one is from now
        assert kept.version == 2
        assert (kept.id, kept.policy_type, kept.parameters, kept.source, kept.confidence) == (
            "p1",
            "ewc",
            {"task": "a", "weights": [0.25] * 1000},
            "deep_loop",
            0.75,
        )
        assert (kept.created_at, kept.last_accessed) == times
        np.testing.assert_array_equal(kept.embedding, vector(5))
        assert kept.fisher_diagonal.dtype == np.float32
        np.testing.assert_array_equal(kept.fisher_diagonal, fisher)
        assert entry.fisher_diagonal is not None

    async def test_ids_and_times_are_given_where_missing(self, open_memory):
        memory = await open_memory()
        entry = PolicyStore(memory).put(PolicyEntry("pattern", {}, "background_loop"))
        assert entry.id
        assert entry.created_at == entry.last_accessed == memory.clock.now_ms()
        assert (entry.embedding, entry.fisher_diagonal) == (None, None)

    async def test_the_newest_of_its_type_is_in_force_and_a_learned_one_before_a_bundled(self, open_memory):
        memory = await open_memory()
        memory.clock.now += 1000
        store = PolicyStore(memory)
        learned = {"fallback": {"model": "350M"}, "confidence_threshold": 0.5}
        store.put(PolicyEntry("router", learned, "federated", 0.4, id="older", created_at=memory.clock.now - 500))
        store.put(PolicyEntry("router", learned, "deep_loop", 0.5, id="newer", created_at=memory.clock.now - 400))
        store.put(PolicyEntry("pattern", {}, "deep_loop", 0.5, id="else"))
        assert store.latest("router").id == "newer"
        assert store.latest("router").typed().fallback.model == "350M"
        assert [entry.id for entry in store.list("router")] == [BUNDLED[0].id, "newer", "older"]
        assert store.latest("quantization").source == "bundled"

    async def test_reading_is_noted_to_the_minute(self, open_memory):
        memory = await open_memory()
        store = PolicyStore(memory)
        first = store.latest("router").last_accessed
        memory.clock.now += 59_999
        assert store.latest("router").last_accessed == first
        memory.clock.now += 1
        assert store.latest("router").last_accessed == memory.clock.now == store.list("router")[0].last_accessed
        await memory.close()
        memory = await open_memory()
        assert {entry.policy_type: entry.last_accessed for entry in PolicyStore(memory).list()}["router"] == first + 60_000

    async def test_search_is_by_type_and_likeness(self, open_memory):
        store = PolicyStore(await open_memory())
        for number in range(6):
            store.put(PolicyEntry(("pattern", "ewc")[number % 2], {}, "deep_loop", embedding=vector(number), id=f"p{number}"))
        store.put(PolicyEntry("pattern", {}, "deep_loop", id="without"))
        assert [entry.id for entry in store.search("pattern", vector(2), 1)] == ["p2"]
        assert {entry.id for entry in store.search("pattern", vector(2), 10)} == {"p0", "p2", "p4"}
        assert store.search(None, vector(3), 1)[0].id == "p3"

    async def test_what_a_search_found_is_held_until_its_time_is_over_or_something_changes(self, open_memory):
        memory = await open_memory()
        store, seen = PolicyStore(memory), []
        for number in range(3):
            store.put(PolicyEntry("tide", {"n": number}, "deep_loop", embedding=vector(number), id=f"t{number}"))
        query = memory.driver.query
        memory.driver.query = lambda sql, *given: seen.append(sql) or query(sql, *given)
        try:
            first = store.search("tide", vector(1), 2)
            seen.clear()
            again = store.search("tide", vector(1), 2)
            assert [a is b for a, b in zip(first, again, strict=True)] == [True, True] and not seen
            assert store.search("tide", vector(1), 3)[:2] == again and len(seen) == 1
            memory.clock.now += memory.config.policy.ttl_ms
            seen.clear()
            assert store.search("tide", vector(1), 1)[0].last_accessed == memory.clock.now and seen
            await memory.delete(["t1"])
            assert [entry.id for entry in store.search("tide", vector(1), 3)].count("t1") == 0
        finally:
            del memory.driver.query

    async def test_versions_count_within_a_type_and_an_old_one_can_rule_again(self, open_memory):
        memory = await open_memory()
        store = PolicyStore(memory)
        first = store.put(PolicyEntry("router", {"confidence_threshold": 0.6}, "background_loop"))
        memory.clock.now += 1
        second = store.put(PolicyEntry("router", {"confidence_threshold": 0.5}, "background_loop"))
        assert (first.version, second.version, store.latest("router").id) == (2, 3, second.id)
        memory.clock.now += 1
        restored = store.restore(first.id)
        assert (restored.version, restored.parameters) == (4, {"confidence_threshold": 0.6})
        assert store.latest("router").id == restored.id != first.id
        assert [entry.version for entry in store.list("router")] == [4, 3, 2, 1]

    async def test_what_is_in_force_is_held_until_its_time_is_over_or_something_changes(self, open_memory):
        memory = await open_memory()
        store, seen = PolicyStore(memory), []
        query = memory.driver.query
        memory.driver.query = lambda sql, *given: seen.append(sql) or query(sql, *given)
        try:
            first = store.latest("router")
            seen.clear()
            assert store.latest("router") is first and not seen
            memory.clock.now += memory.config.policy.ttl_ms
            assert store.latest("router").id == first.id and seen
            learned = store.put(PolicyEntry("router", {}, "deep_loop"))
            assert store.latest("router").id == learned.id
            await memory.delete([learned.id])  # by somebody who knows nothing of policies
            assert store.latest("router").id == first.id
            other = PolicyStore(memory).put(PolicyEntry("router", {}, "deep_loop"))
            assert store.latest("router").id == other.id
            held = store.latest("quantization")
            store.invalidate("quantization")
            seen.clear()
            assert store.latest("quantization").id == held.id and seen
            assert store.latest("router").id == other.id
        finally:
            del memory.driver.query

    async def test_a_policy_that_was_taken_back_is_not_held(self, open_memory):
        memory = await open_memory()
        store = PolicyStore(memory)
        before = store.latest("router").id
        with pytest.raises(ZeroDivisionError), memory.transaction():
            learned = store.put(PolicyEntry("router", {}, "deep_loop", embedding=vector(1)))
            assert store.latest("router").id == learned.id
            assert store.search("router", vector(1)) == []  # a search inside a transaction sees no new records
            raise ZeroDivisionError
        assert store.latest("router").id == before and store.search("router", vector(1)) == []

    async def test_over_the_bound_those_used_longest_ago_go(self, open_memory):
        memory = await open_memory(config=settings_at(HandClock(), policy=PolicyConfig(capacity=9)))
        store = PolicyStore(memory)  # with five bundled ones
        for number in range(4):
            memory.clock.now += 120_000
            store.put(PolicyEntry("weather", {"n": number}, "deep_loop", embedding=vector(number), id=f"w{number}"))
        memory.clock.now += 120_000
        store.get("w0")
        store.put(PolicyEntry("tide", {}, "deep_loop", id="t0"))
        store.put(PolicyEntry("tide", {}, "deep_loop", id="t1"))
        assert {entry.id for entry in store.list("weather")} == {"w0", "w3"}  # used last, and in force
        assert [entry.id for entry in store.search("weather", vector(1))] != ["w1"]
        assert len(store.list()) == 9 and sum(entry.source == "bundled" for entry in store.list()) == 5
        for number in range(9):
            memory.clock.now += 1
            store.put(PolicyEntry("router", {}, "deep_loop", id=f"r{number}"))
        assert store.latest("router").id == "r8" and store.latest("tide").id == "t1" and store.latest("weather").id == "w3"
        assert len(store.list()) == 9

    async def test_a_taken_id_is_refused_and_nothing_changes(self, open_memory):
        memory = await open_memory()
        store = PolicyStore(memory)
        store.put(PolicyEntry("pattern", {}, "deep_loop", id="p1"))
        before = tables(memory)
        with pytest.raises(DuplicateError):
            store.put(PolicyEntry("pattern", {}, "deep_loop", id="p1"))
        assert tables(memory) == before
        for call in (lambda: store.get("nothing"), lambda: store.latest("nothing")):
            with pytest.raises(NotFoundError, match="nothing"):
                call()

    async def test_deleting_through_the_memory_leaves_nothing(self, open_memory):
        memory = await open_memory()
        store = PolicyStore(memory)
        before = tables(memory)
        store.put(PolicyEntry("ewc", {}, "deep_loop", embedding=vector(1), fisher_diagonal=np.ones(4), id="p1"))
        await memory.delete(["p1"])
        assert tables(memory) == before

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"policy_type": "two words"}, "policy_type"),
            ({"source": "somewhere"}, "source is 'somewhere'; one of instant_loop"),
            ({"confidence": 1.5}, "confidence is 1.5"),
            ({"confidence": float("nan")}, "confidence is nan"),
            ({"parameters": []}, "parameters are a dict"),
            ({"parameters": {"fallback": {"model": "7B"}}}, "model is '7B'; one of 350M"),
            ({"parameters": {"fallback": {"context_size": 1000}}}, "context_size is 1000"),
            ({"parameters": {"fallback": {"temperature": -1}}}, "temperature is -1"),
            ({"parameters": {"fallback": {"top_k": 4}}}, "Fallback has no 'top_k'"),
            ({"parameters": {"fallback": "1.2B"}}, "fallback is a dict"),
            ({"parameters": {"threshold": 0.7}}, "RouterPolicy has no 'threshold'"),
            ({"parameters": {"cell_weights": [1]}}, "cell_weights is a dict or None"),
            ({"policy_type": "quantization", "parameters": {"layer_range": [4, 4]}}, "layer_range"),
            ({"policy_type": "quantization", "parameters": {"layer_range": [0, 1, 2]}}, "layer_range"),
            ({"policy_type": "quantization", "parameters": {"precision": "q3"}}, "precision is 'q3'; one of fp16"),
            ({"policy_type": "quantization", "parameters": {"memory_budget": 0}}, "memory_budget"),
            ({"policy_type": "quantization", "parameters": {"quality_weight": 2}}, "quality_weight is 2"),
            ({"policy_type": "quantization", "parameters": {"tail_length": 100}}, "tail_length is 100 tokens; a multiple of 16"),
            ({"policy_type": "quantization", "parameters": {"tail_length": -16}}, "tail_length is -16"),
            ({"policy_type": "ewc", "parameters": {"fisher_decay": 2}}, "fisher_decay is 2"),
            ({"policy_type": "ewc", "parameters": {"weights": [1.0, None]}}, "weights are a list of finite numbers"),
            ({"policy_type": "ewc", "parameters": {"weights": [1.0, 2.0]}}, "2 weights has as many values in its fisher_diagonal, not 0"),
            (
                {"policy_type": "ewc", "parameters": {"weights": [1.0, 2.0]}, "fisher_diagonal": [1.0]},
                "2 weights has as many values in its fisher_diagonal, not 1",
            ),
            ({"policy_type": "pattern", "parameters": {"similarity": 3}}, "similarity is 3"),
            ({"policy_type": "pattern", "parameters": {"capacity": 0}}, "capacity is 0"),
            ({"policy_type": "kernel", "parameters": {"engine": "x"}}, "names its pack"),
            ({"policy_type": "kernel", "parameters": {"pack": "a", "engine": "x", "statistics": 3}}, "statistics are a dict"),
            ({"embedding": np.ones(384)}, r"embedding has the shape \(384,\)"),
            ({"fisher_diagonal": np.ones((2, 2))}, "fisher_diagonal"),
            ({"fisher_diagonal": [-1.0]}, "fisher_diagonal"),
            ({"fisher_diagonal": [float("inf")]}, "fisher_diagonal"),
        ],
    )
    async def test_what_cannot_be_is_refused(self, values, reason):
        with pytest.raises(ConfigError, match=reason):
            PolicyEntry(**{"policy_type": "router", "parameters": {}, "source": "deep_loop", **values})

    async def test_parameters_that_are_no_json_are_refused(self, open_memory):
        store = PolicyStore(await open_memory())
        with pytest.raises(ConfigError, match="parameters must be JSON"):
            store.put(PolicyEntry("weather", {"a": np.ones(3)}, "deep_loop"))

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        parameters=st.dictionaries(
            st.text(st.characters(codec="utf-8"), max_size=5),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=6,
            ),
            max_size=4,
        ),
        confidence=st.floats(0, 1),
        source=st.sampled_from(SOURCES),
        fisher=st.none() | st.lists(st.floats(0, 2.0**100, width=32), max_size=8),
    )
    async def test_any_entry_comes_back_as_it_was(self, open_memory, parameters, confidence, source, fisher):
        store = PolicyStore(await open_memory(another()))
        entry = store.put(PolicyEntry("weather", parameters, source, confidence, fisher_diagonal=fisher))
        kept = store.get(entry.id)
        assert (kept.parameters, kept.confidence, kept.source) == (parameters, confidence, source)
        if fisher is None:
            assert kept.fisher_diagonal is None
        else:
            np.testing.assert_array_equal(kept.fisher_diagonal, np.array(fisher, np.float32))
