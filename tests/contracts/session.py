"""What the session index promises."""

import asyncio
from dataclasses import asdict, replace

import numpy as np
import pytest

from pyruvllm.config import SessionConfig
from pyruvllm.errors import ConfigError, NotFoundError, QuotaError
from pyruvllm.memory.cache_reference import CacheQuantization, KvCacheRef
from pyruvllm.memory.graph import Edge
from pyruvllm.memory.session import SessionIndex
from tests.contracts.stores import settings_at, tables, vector
from tests.contracts.writeback import HandClock

CACHE = KvCacheRef("hot", "pool:7", 320, CacheQuantization(256, "fp16", "q4_0", 3.5), 1_700_000_000_123)


class SessionContract:
    async def test_open_makes_a_session_once(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        session = sessions.open("s1", user_id="marta", metadata={"device": "phone"})
        assert (session.id, session.user_id, session.metadata) == ("s1", "marta", {"device": "phone"})
        assert (session.turn_count, session.kv_cache_ref, session.active_adapter, session.context_embedding) == (0, None, None, None)
        assert session.created_at == session.last_active == memory.clock.now_ms()
        before = tables(memory)
        assert sessions.open("s1").created_at == session.created_at
        assert tables(memory) == before
        other = sessions.open()
        assert other.id not in ("", "s1")
        assert sessions.get(other.id).user_id is None

    async def test_a_session_of_somebody_else_is_not_opened(self, open_memory):
        sessions = SessionIndex(await open_memory())
        sessions.open("s1", user_id="marta")
        with pytest.raises(ConfigError, match="'marta', not to 'jonas'"):
            sessions.open("s1", user_id="jonas")

    async def test_a_session_of_nobody_is_given_a_user_once(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("s1")
        sessions.append("s1", "user", "Where is the key?")
        assert sessions.open("s1", user_id="marta").user_id == sessions.get("s1").user_id == "marta"
        assert [session.id for session in SessionIndex(memory).list(user_id="marta")] == ["s1"]
        assert sessions.open("s1").user_id == "marta"
        with pytest.raises(ConfigError, match="'marta', not to 'jonas'"):
            sessions.open("s1", user_id="jonas")
        for wrong in ("", 7):
            with pytest.raises(ConfigError, match="user"):
                sessions.open("s2", user_id=wrong)

    async def test_history_keeps_the_order_and_every_field(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("s1")
        sessions.open("s2")
        turns = []
        for number in range(12):
            memory.clock.now += 10
            role = ("user", "assistant")[number % 2]
            turns.append(sessions.append("s1", role, f"turn {number}", witness=f"w{number // 2}", metadata={"place": number}))
            sessions.append("s2", role, "something else")
        assert sessions.history("s1") == turns
        assert turns[3].created_at == turns[2].created_at + 10
        assert sessions.history("s1", limit=3) == turns[-3:]
        session = sessions.get("s1")
        assert (session.turn_count, session.last_active) == (12, memory.clock.now)

    async def test_the_title_is_the_first_question_shortened(self, open_memory):
        sessions = SessionIndex(await open_memory())
        sessions.open("s1")
        sessions.append("s1", "system", "Be brief.")
        sessions.append("s1", "user", "Which of the\nnuts in the tin on the kitchen shelf may my nephew Jonas eat when he visits?")
        sessions.append("s1", "user", "And fish?")
        assert sessions.get("s1").title == "Which of the nuts in the tin on the kitchen shelf may my…"

    async def test_the_context_is_a_mean_first_and_fades_then_and_has_unit_length(self, open_memory):
        sessions = SessionIndex(await open_memory())
        sessions.open("s1")
        a, b = vector(1), vector(2)
        sessions.append("s1", "user", "one", vector=a)
        np.testing.assert_allclose(sessions.get("s1").context_embedding, a, atol=2e-3)
        sessions.append("s1", "assistant", "no vector here")
        np.testing.assert_allclose(sessions.get("s1").context_embedding, a, atol=2e-3)
        sessions.append("s1", "user", "two", vector=b)
        mean = (a + b) / np.linalg.norm(a + b)
        np.testing.assert_allclose(sessions.get("s1").context_embedding, mean, atol=2e-3)
        for _ in range(40):
            sessions.append("s1", "user", "again", vector=b)
        context = sessions.get("s1").context_embedding
        assert context @ b > 0.99
        assert np.linalg.norm(context) == pytest.approx(1, abs=2e-3)
        sessions.append("s1", "user", "back", vector=a)
        assert 0.15 < sessions.get("s1").context_embedding @ a < 0.35  # a fifth of the mixture, before it is made a unit vector again

    async def test_an_opposite_turn_leaves_a_direction(self, open_memory):
        sessions = SessionIndex(await open_memory())
        sessions.open("s1")
        a = vector(1)
        sessions.append("s1", "user", "one", vector=a)
        sessions.append("s1", "user", "the opposite", vector=-a)
        np.testing.assert_allclose(sessions.get("s1").context_embedding, -a, atol=2e-3)

    async def test_sessions_are_found_by_what_they_are_about(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        for name, text in {"s1": "When is high tide in the harbour?", "s2": "Who feeds the sourdough starter?"}.items():
            sessions.open(name)
            sessions.append(name, "user", text, vector=(await memory.embedder.embed([text]))[0])
        assert [session.id for session in await sessions.search("the harbour tide", 1)] == ["s1"]
        found = await sessions.search((await memory.embedder.embed(["sourdough starter"]))[0], 1)
        assert [session.id for session in found] == ["s2"]
        hits = await memory.search("sourdough", 1, collections=("sessions", "documents"))
        assert (hits[0].id, hits[0].collection) == ("s2", "sessions")

    async def test_list_is_by_activity_and_by_user_and_adapter(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        for number in range(5):
            memory.clock.now += 1
            sessions.open(f"s{number}", user_id="marta" if number % 2 else None)
        memory.clock.now += 1
        sessions.append("s1", "user", "hello")
        sessions.update("s3", active_adapter="legal")
        assert [session.id for session in sessions.list()] == ["s1", "s4", "s3", "s2", "s0"]
        assert [session.id for session in sessions.list(2, 1)] == ["s4", "s3"]
        assert [session.id for session in sessions.list(user_id="marta")] == ["s1", "s3"]
        assert [session.id for session in sessions.list(adapter="legal")] == ["s3"]

    async def test_adapter_cache_and_metadata_can_be_set_and_survive(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("s1")
        sessions.append("s1", "user", "hello", vector=vector(3))
        sessions.update("s1", active_adapter="legal", kv_cache_ref=CACHE, metadata={"a": [1, None]})
        before = sessions.get("s1")
        await memory.close()
        sessions = SessionIndex(await open_memory())
        session = sessions.get("s1")
        assert (session.active_adapter, session.kv_cache_ref, session.metadata) == ("legal", CACHE, {"a": [1, None]})
        np.testing.assert_array_equal(session.context_embedding, before.context_embedding)
        assert [turn.text for turn in sessions.history("s1")] == ["hello"]
        assert sessions.update("s1", active_adapter=None, kv_cache_ref=None).kv_cache_ref is None

    async def test_what_cannot_be_is_refused_and_changes_nothing(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("s1")
        before = tables(memory)
        for role, text, options, reason in [
            ("narrator", "x", {}, "role is 'narrator'"),
            ("user", None, {}, "a string, not NoneType"),
            ("user", "x", {"vector": np.ones(3)}, r"shape \(3,\)"),
            ("user", "x", {"vector": np.full(768, np.nan)}, "not finite"),
            ("user", "x", {"metadata": {"a": object()}}, "JSON"),
        ]:
            with pytest.raises(ConfigError, match=reason):
                sessions.append("s1", role, text, **options)
        with pytest.raises(ConfigError, match="no 'title' to set"):
            sessions.update("s1", title="x")
        with pytest.raises(ConfigError, match="tier is 'lukewarm'"):
            KvCacheRef("lukewarm", "x", 0, CacheQuantization(), 0)
        for call in (sessions.get, sessions.history, sessions.update, lambda id: sessions.append(id, "user", "x")):
            with pytest.raises(NotFoundError, match="nobody"):
                call("nobody")
        with pytest.raises(NotFoundError):
            await sessions.delete("nobody")
        assert tables(memory) == before
        assert sessions.get("s1").turn_count == 0

    async def test_whatever_was_said_is_kept(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("s1")
        sessions.append("s1", "user", "nul \0 and half \ud83d")
        sessions.append("s1", "assistant", "")
        await memory.close()
        sessions = SessionIndex(await open_memory())
        assert [turn.text for turn in sessions.history("s1")] == ["nul \ufffd and half \ufffd", ""]

    async def test_delete_takes_turns_record_and_edges_and_counts_them(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("kept")
        sessions.append("kept", "user", "stay", vector=vector(1))
        before = tables(memory)
        sessions.open("s1")
        for number in range(4):
            sessions.append("s1", "user", "words to forget", vector=vector(number))
        memory.graph.link_many([Edge("s1", "w1", "contains"), Edge("s1", "w2", "contains"), Edge("x", "s1", "cites")])
        removed = await sessions.delete("s1")
        assert (removed.turns, removed.vectors, removed.edges) == (4, 1, 3)
        assert tables(memory) == before
        assert await memory.search("forget", 5, collections=("sessions",), mode="text") == []
        await memory.close()
        sessions = SessionIndex(await open_memory())
        assert [session.id for session in sessions.list()] == ["kept"]
        assert sessions.open("s1").turn_count == 0

    async def test_a_session_expires_when_it_is_idle_and_its_conversation_stays(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("idle"), sessions.open("busy")
        sessions.append("idle", "user", "what is kept?", vector=vector(1))
        sessions.update("idle", kv_cache_ref=CACHE)
        memory.clock.now += 299_999
        sessions.append("busy", "user", "still here")
        assert sessions.expire() == [] and sessions.count(live=True) == 2
        memory.clock.now += 1
        assert sessions.expire() == ["idle"]
        session = sessions.get("idle")
        assert (session.live, session.kv_cache_ref, session.turn_count, session.title) == (False, None, 1, "what is kept?")
        assert [found.id for found in sessions.list()] == ["busy", "idle"]
        assert [found.id for found in sessions.list(live=True)] == ["busy"] and sessions.count(live=False) == 1
        assert [turn.text for turn in sessions.history("idle")] == ["what is kept?"]
        assert [found.id for found in await sessions.search(vector(1), 1)] == ["idle"]
        assert sessions.expire() == []
        await memory.close()
        sessions = SessionIndex(await open_memory())
        assert not sessions.get("idle").live and sessions.get("busy").live

    async def test_it_expires_when_it_has_lived_long_enough_and_is_live_again_with_the_next_turn(self, open_memory):
        memory = await open_memory()
        sessions = SessionIndex(memory)
        sessions.open("s1")
        for _ in range(14):
            memory.clock.now += 250_000
            sessions.append("s1", "user", "on and on")
            assert sessions.expire() == []
        memory.clock.now += 100_000
        sessions.append("s1", "user", "one hour")
        assert sessions.expire() == ["s1"]
        sessions.append("s1", "user", "and on")
        assert sessions.get("s1").live and sessions.expire() == []
        memory.clock.now += 300_000
        assert sessions.expire() == ["s1"]
        assert sessions.open("s1").live and sessions.expire() == []

    async def test_a_pinned_session_never_expires(self, open_memory):
        memory = await open_memory(config=settings_at(HandClock(), session=SessionConfig(keep_ms=10**9)))
        sessions = SessionIndex(memory)
        for name in ("pinned", "other"):
            sessions.open(name)
        assert sessions.pin("pinned").pinned
        memory.clock.now += 10**10
        assert sessions.expire() == ["other"]
        assert [session.id for session in sessions.list()] == ["pinned"]  # the other one was kept for its time
        sessions.pin("pinned", False)
        assert sessions.expire() == ["pinned"] and sessions.list() == []
        with pytest.raises(NotFoundError):
            sessions.pin("nobody")

    async def test_who_holds_state_of_a_session_is_told_and_may_have_saved_it(self, open_memory):
        memory = await open_memory()
        sessions, told = SessionIndex(memory), []
        for name in ("saved", "dropped", "stuck"):
            sessions.open(name)
            sessions.update(name, kv_cache_ref=CACHE)

        def save(id):
            told.append(id)
            if id == "stuck":
                raise QuotaError("no room to save it")
            if id == "saved":
                sessions.update(id, kv_cache_ref=replace(CACHE, tier="cold", location="rows"))

        sessions.on_expired(save)
        memory.clock.now += 300_000
        assert sorted(sessions.expire()) == ["dropped", "saved"]
        assert sorted(told) == ["dropped", "saved", "stuck"]
        assert sessions.get("saved").kv_cache_ref.tier == "cold" and sessions.get("dropped").kv_cache_ref is None
        assert sessions.get("stuck").live and sessions.get("stuck").kv_cache_ref == CACHE

    async def test_they_expire_by_themselves(self, open_memory):
        memory = await open_memory(config=settings_at(HandClock(), session=SessionConfig(idle_ms=20, lifetime_ms=50)))
        sessions = SessionIndex(memory)
        for number in range(150):
            sessions.open(f"s{number}")
        memory.clock.now += 20
        for _ in range(2000):
            if not sessions.count(live=True):
                break
            await asyncio.sleep(0.005)
        assert sessions.count() == 150 and sessions.count(live=True) == 0
        sessions.open("s7")
        memory.clock.now += 20
        for _ in range(2000):
            if not sessions.count(live=True):
                break
            await asyncio.sleep(0.005)
        assert sessions.count(live=True) == 0
        await memory.close()

    async def test_what_could_not_expire_does_when_it_can(self, open_memory, caplog):
        memory = await open_memory(config=settings_at(HandClock(), session=SessionConfig(idle_ms=20, lifetime_ms=50)))
        sessions = SessionIndex(memory)
        sessions.open("s1")
        memory.driver.execute("PRAGMA query_only = ON")
        memory.clock.now += 20
        async with asyncio.timeout(10):
            while "did not expire" not in caplog.text:
                await asyncio.sleep(0.005)
            assert sessions.count(live=True) == 1
            memory.driver.execute("PRAGMA query_only = OFF")
            while sessions.count(live=True):
                await asyncio.sleep(0.005)
        await memory.close()

    async def test_another_adapter_makes_the_cache_useless(self, open_memory):
        sessions = SessionIndex(await open_memory())
        sessions.open("s1")
        sessions.update("s1", kv_cache_ref=CACHE)
        assert sessions.switch_adapter("s1", None).kv_cache_ref == CACHE
        session = sessions.switch_adapter("s1", "legal")
        assert (session.active_adapter, session.kv_cache_ref) == ("legal", None)
        assert [found.id for found in sessions.list(adapter="legal")] == ["s1"]
        with pytest.raises(ConfigError):
            sessions.switch_adapter("s1", "")
        sessions.update("s1", kv_cache_ref=CACHE)
        assert sessions.update("s1", active_adapter="legal").kv_cache_ref == CACHE
        assert sessions.update("s1", active_adapter="formal").kv_cache_ref is None
        assert sessions.update("s1", active_adapter=None, kv_cache_ref=CACHE).kv_cache_ref == CACHE, "it is said to be of this one"
        for wrong in ({"active_adapter": 3}, {"active_adapter": " "}, {"kv_cache_ref": asdict(CACHE)}, {"kv_cache_ref": "hot"}):
            with pytest.raises(ConfigError):
                sessions.update("s1", metadata={"a": 1}, **wrong)
        for wrong in ({"cached_tokens": "320"}, {"cached_tokens": 1.5}, {"created_at": None}, {"location": 3}, {"quantization": {}}):
            with pytest.raises(ConfigError):
                replace(CACHE, **wrong)
        session = sessions.get("s1")
        assert (session.active_adapter, session.kv_cache_ref, session.metadata) == (None, CACHE, {})

    async def test_search_among_the_sessions_of_a_user_or_an_adapter(self, open_memory):
        sessions = SessionIndex(await open_memory())
        for number in range(6):
            sessions.open(f"s{number}", user_id=("marta", "jonas")[number % 2], metadata={"n": number})
            sessions.append(f"s{number}", "user", "the same words", vector=vector(number))
        sessions.switch_adapter("s4", "legal")
        assert [found.id for found in await sessions.search(vector(0), 6, user_id="jonas", where={"n": {"$gt": 1}})] != []
        assert {found.id for found in await sessions.search(vector(0), 6, user_id="jonas", where={"n": {"$gt": 1}})} == {"s3", "s5"}
        assert [found.id for found in await sessions.search(vector(0), 6, adapter="legal", live=True)] == ["s4"]
        assert await sessions.search("same words", 6, user_id="nobody") == []

    async def test_what_is_held_ready_is_what_the_rows_say(self, open_memory):
        memory = await open_memory(config=settings_at(HandClock(), session=SessionConfig(warm=2)))
        sessions = SessionIndex(memory)
        for number in range(4):
            sessions.open(f"s{number}")
        query, seen = memory.driver.query, []
        memory.driver.query = lambda sql, *given: seen.append(sql) or query(sql, *given)
        try:
            assert sessions.get("s3") is sessions.get("s3") and not seen
            sessions.get("s0")
            assert seen
            sessions.append("s3", "user", "hello", vector=vector(3))
            assert sessions.get("s3").turn_count == 1 and sessions.get("s3").title == "hello"
            with pytest.raises(ZeroDivisionError), memory.transaction():
                sessions.append("s3", "user", "never said", vector=vector(4))
                assert sessions.get("s3").turn_count == 2
                sessions.update("s0", active_adapter="x", metadata={"a": 1})
                raise ZeroDivisionError
            assert sessions.get("s3").turn_count == 1 and sessions.get("s0").active_adapter is None
            assert sessions.get("s0").metadata == {}
            memory.revise("s0", metadata={"b": 2})
            assert sessions.get("s0").metadata == {"b": 2}
            await memory.delete(["s0"])
            with pytest.raises(NotFoundError):
                sessions.get("s0")
        finally:
            del memory.driver.query
