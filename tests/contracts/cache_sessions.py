"""Caches of conversations: hot, warm, cold, gone, and back from each.

Bound by fixtures ``kernels``: a KernelRegistry, and ``open_memory`` (stores.py).
"""

import numpy as np
import pytest

from pyruvllm.cache import EXACT, KvCache, Pool, SessionCaches, Setting
from pyruvllm.cache.region import rounded
from pyruvllm.errors import ConfigError, NotFoundError, PersistError
from pyruvllm.memory.policy import PolicyEntry, PolicyStore
from pyruvllm.memory.session import SessionIndex
from tests.contracts.cache import FORM, NEAR, check, feed, tokens
from tests.contracts.decoder_cache import prompt, shared


class Failing:
    """A database that can be told to fail."""

    def __init__(self, driver):
        self._driver, self.fails = driver, False

    def __getattr__(self, name):
        return getattr(self._driver, name)

    def executemany(self, sql, rows):
        if self.fails:
            raise OSError("the disk is full")
        return self._driver.executemany(sql, rows)


def caches_over(kernels, memory, budget=4 << 20, setting=None, **options):
    pool = Pool(budget, kernels.empty, memory.clock)
    cache = KvCache(FORM, pool, kernels, setting or Setting(tail=32), b"model one")
    return SessionCaches(cache, Failing(memory.driver), SessionIndex(memory), clock=memory.clock, **options)


def image(cache, sequence):
    pages = [cache.store.view(page).tobytes() for page in (*sequence.old, *sequence.tail)]
    return pages[: len(sequence) // 16], sequence.state.tobytes(), list(sequence.tokens), sequence.setting


class SessionCacheContract:
    @pytest.mark.parametrize("setting", [EXACT, Setting(32), Setting(16, "q8q4", layers=(0, 3)), Setting(16, "q4", rotate=True)])
    async def test_from_cold_it_comes_back_as_it_was(self, kernels, open_memory, setting):
        caches = caches_over(kernels, await open_memory(), setting=setting)
        caches.sessions.open("a")
        resumed = caches.open("a")
        assert (resumed.tier, caches.tier("a"), len(resumed.sequence)) == ("gone", "warm", 0)
        feed(caches.cache, resumed.sequence, tokens(150))
        resumed.sequence.state[...] = np.arange(32).reshape(2, 2, 8)
        before, resumed_bytes = image(caches.cache, resumed.sequence), resumed.sequence.nbytes
        assert caches.tier("a") == "hot" and caches.find("a") is resumed.sequence
        caches.freeze("a")
        assert (caches.tier("a"), caches.find("a"), caches.cache.store.pages, caches.cache.pool.used) == ("cold", None, 0, 0)
        reference = caches.sessions.get("a").kv_cache_ref
        assert (reference.tier, reference.cached_tokens, reference.quantization.store_precision) == ("cold", 150, setting.old)
        report = caches.report()
        assert (report["hits"], report["live"], report["saved"]) == (caches.hits, [], {"sessions": 1, "bytes": resumed_bytes})
        (saved,) = report["cold"]
        assert saved == {"session": "a", "bytes": resumed_bytes, "tokens": 150, "saved_at": caches.clock.now_ms(), "fits": True}
        assert (report["cold_sessions"], report["cold_bytes"], report["pages"]["pages"]) == (1, resumed_bytes, 0)
        again = caches.open("a")
        (told,) = caches.report()["live"]
        assert (told["session"], told["tier"], told["tokens"], told["old"]) == ("a", "hot", 150, setting.old)
        assert told["exact_bytes"] + told["old_bytes"] + again.sequence.state.nbytes == resumed_bytes
        assert again.tier == "cold" and image(caches.cache, again.sequence) == before and again.ms >= 0
        feed(caches.cache, again.sequence, tokens(60, 1))
        check(caches.cache, again.sequence, 8.0 if setting.old.endswith("q4") else None)
        assert caches.hits == {"hot": 0, "warm": 0, "cold": 1, "gone": 1}

    async def test_hot_becomes_warm_and_hot_again(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory())
        sequence = caches.open("a").sequence
        feed(caches.cache, sequence, tokens(100))
        assert caches.demote("a") and caches.tier("a") == "warm"
        assert caches.open("a").tier == "warm"
        feed(caches.cache, sequence, tokens(30, 1))
        assert caches.open("a").tier == "hot" and not caches.demote("nobody")
        check(caches.cache, sequence)

    async def test_only_what_changed_is_written_again(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory())
        feed(caches.cache, caches.open("a").sequence, tokens(160))
        caches.freeze("a")
        numbers = {row[0] for row in caches.driver.query("SELECT number FROM kv_pages")}
        feed(caches.cache, caches.open("a").sequence, tokens(10, 1))
        caches.freeze("a")
        kept = numbers & {row[0] for row in caches.driver.query("SELECT number FROM kv_pages")}
        assert len(kept) == 10 and len(numbers) == 10
        assert caches.open("a").sequence.tokens == tokens(160) + tokens(10, 1)
        caches.cache.truncate(caches.find("a"), 20)
        caches.freeze("a")
        assert caches.driver.query("SELECT count(*) FROM kv_pages") == [(2,)]

    async def test_a_cache_of_something_else_is_refused(self, kernels, open_memory):
        memory = await open_memory()
        caches = caches_over(kernels, memory)
        for change in (
            "UPDATE kv_sessions SET identity = x'00'",
            "UPDATE kv_sessions SET version = 99",
            "UPDATE kv_sessions SET setting = '{}'",
            "UPDATE kv_sessions SET tokens = x'0000'",
            "UPDATE kv_pages SET content = x'00' WHERE ordinal = 1",
            "DELETE FROM kv_pages WHERE ordinal = 1",
        ):
            feed(caches.cache, caches.open("a").sequence, tokens(100))
            caches.freeze("a")
            assert memory.driver.execute(change) > 0
            assert caches.open("a").tier == "gone", change
            assert caches.driver.query("SELECT count(*) FROM kv_pages") == [(0,)] and len(caches.find("a")) == 0
        feed(caches.cache, caches.find("a"), tokens(50))
        assert caches.open("a", identity=b"with an adapter").tier == "gone" and len(caches.find("a")) == 0
        caches.forget("a")
        assert (caches.tier("a"), caches.cache.pool.used) == ("gone", 0)

    async def test_under_pressure_old_ones_become_warm_then_cold_and_none_is_lost(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory(), budget=150_000)
        texts = {f"s{number}": tokens(60 + number, number) for number in range(12)}
        for id, text in texts.items():
            caches.cache.pool.unpin(caches.open(id).sequence.holding)
            feed(caches.cache, caches.find(id), text)
            caches.cache.pool.unpin(caches.find(id).holding)
        tiers = {caches.tier(id) for id in texts}
        assert "cold" in tiers and "gone" not in tiers and caches.cache.pool.counts["shrunk"]
        for id, text in texts.items():
            sequence = caches.open(id).sequence
            assert sequence.tokens == text
            check(caches.cache, sequence)
            caches.cache.pool.unpin(sequence.holding)
        assert caches.cache.pool.peak <= 150_000 and caches.hits["cold"] > 0

    async def test_where_saving_fails_it_stays_and_whoever_asked_is_told(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory(), budget=65_000)
        feed(caches.cache, caches.open("a").sequence, tokens(100))
        caches.cache.pool.unpin(caches.find("a").holding)
        caches.driver.fails = True
        other = caches.open("b").sequence
        with pytest.raises(PersistError, match="'a' could not be persisted.*the disk is full"):
            for start in range(0, 300, 20):
                feed(caches.cache, other, tokens(300, 1)[start : start + 20])
        check(caches.cache, caches.find("a"))
        with pytest.raises(OSError):
            caches.freeze("a")
        assert len(caches.find("a")) == 100
        caches.driver.fails = False
        rest = tokens(300, 1)[len(other) :]
        for start in range(0, len(rest), 20):
            feed(caches.cache, other, rest[start : start + 20])
        assert caches.tier("a") == "cold"

    async def test_the_oldest_rows_go_where_there_are_too_many(self, kernels, open_memory):
        memory = await open_memory()
        caches = caches_over(kernels, memory, limit=50_000)
        for number in range(8):
            memory.clock.now += 1000
            feed(caches.cache, caches.open(f"s{number}").sequence, tokens(100, number))
            caches.freeze(f"s{number}")
        tiers = [caches.tier(f"s{number}") for number in range(8)]
        assert tiers[0] == "gone" and tiers[-1] == "cold" and tiers == sorted(tiers, reverse=True)

    async def test_a_conversation_that_is_deleted_takes_its_rows_along(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory())
        caches.sessions.open("a")
        feed(caches.cache, caches.open("a").sequence, tokens(100))
        caches.freeze("a")
        caches.sessions.remove("a")
        assert caches.tier("a") == "gone" and caches.driver.query("SELECT count(*) FROM kv_pages") == [(0,)]

    async def test_a_fork_is_a_conversation_of_its_own(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory())
        feed(caches.cache, caches.open("a").sequence, tokens(100))
        fork = caches.fork("a", "b")
        feed(caches.cache, fork, tokens(20, 1))
        for id in "ab":
            caches.freeze(id)
        assert caches.open("a").sequence.tokens == tokens(100)
        assert caches.open("b").sequence.tokens == tokens(100) + tokens(20, 1)
        check(caches.cache, caches.find("b"))
        with pytest.raises(ConfigError, match="'b'"):
            caches.fork("a", "b")
        with pytest.raises(NotFoundError):
            caches.fork("nobody", "c")
        with pytest.raises(NotFoundError):
            caches.freeze("nobody")

    async def test_the_policy_in_force_decides_how_exactly_each_is_kept(self, kernels, open_memory):
        memory = await open_memory()
        caches = caches_over(kernels, memory)
        caches.policies = PolicyStore(memory)
        for id, importance in (("dear", 1.0), ("plain", 0.5)):
            feed(caches.cache, caches.open(id, priority=importance).sequence, tokens(400))
        assert [caches.find(id).setting.old for id in ("dear", "plain")] == ["q8", "q8"]
        exact = {"precision": "q4_0", "quality_weight": 1.0, "layer_range": [0, 16]}
        caches.policies.put(PolicyEntry("quantization", exact, "instant_loop"))
        assert caches.reconsider() == 1 and caches.find("dear").setting.old == "f16" and caches.reconsider() == 0
        check(caches.cache, caches.find("dear"), NEAR["q8"])
        memory.clock.now += 1
        caches.policies.put(PolicyEntry("quantization", {**exact, "quality_weight": 0.0}, "instant_loop"))
        caches.cache.pool.resize(int(caches.cache.pool.used / 0.85))  # rather full
        assert caches.reconsider() >= 1 and caches.find("dear").setting.old == "q8"
        check(caches.cache, caches.find("dear"), NEAR["q8"])

    async def test_rows_do_not_go_while_they_are_read_back(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory(), limit=1)  # one conversation at a time, whatever it takes
        for seed, id in enumerate("ab"):
            feed(caches.cache, caches.open(id).sequence, tokens(300, seed))
            caches.cache.pool.unpin(caches.find(id).holding)
            if id == "a":
                before = image(caches.cache, caches.find("a"))
                caches.freeze("a")
        caches.cache.pool.resize(int(1.15 * caches.cache.pool.used))  # "b" goes for it, and its rows are more than may be there
        resumed = caches.open("a")
        assert resumed.tier == "cold" and image(caches.cache, resumed.sequence) == before and caches.tier("b") == "cold"

    async def test_what_is_pinned_matters_most_and_what_idles_ever_less(self, kernels, open_memory):
        memory = await open_memory()
        caches = caches_over(kernels, memory)
        caches.policies = PolicyStore(memory)
        for id in ("pinned", "plain", "given", "unknown"):
            if id != "unknown":
                caches.sessions.open(id)
            feed(caches.cache, caches.open(id, priority=0.7 if id == "given" else None).sequence, tokens(400, len(id)))
        caches.sessions.pin("pinned")
        matters = {"precision": "q4_0", "quality_weight": 0.8, "layer_range": [0, 16]}
        caches.policies.put(PolicyEntry("quantization", matters, "instant_loop"))
        assert caches.reconsider() == 1 and caches.find("pinned").setting.old == "f16"
        assert [caches.find(id).holding.priority for id in ("pinned", "plain", "given", "unknown")] == [1.0, 0.5, 0.7, 0.5]
        caches.sessions.pin("pinned", False)
        memory.clock.now += caches.sessions.config.idle_ms // 2
        found = [caches.importance.of(id, caches.find(id).holding) for id in ("pinned", "plain", "given")]
        assert found == [0.25, 0.25, 0.7]
        caches.policies.put(PolicyEntry("quantization", {**matters, "quality_weight": 0.5}, "instant_loop"))
        caches.open("plain")
        caches.cache.pool.resize(int(caches.cache.pool.used / 0.85))  # rather full
        caches.reconsider()
        assert [caches.find(id).setting.old for id in ("pinned", "plain", "given", "unknown")] == ["q8q4", "q8", "q8", "q8q4"]

    async def test_it_is_told_where_each_is_and_what_it_takes(self, kernels, open_memory):
        caches = caches_over(kernels, await open_memory())
        feed(caches.cache, caches.open("a").sequence, tokens(150))
        feed(caches.cache, caches.open("b").sequence, tokens(20, 1))
        caches.fork("a", "c")
        first, second, third = (caches.find(id) for id in "cba")
        report = caches.report()
        assert [each["session"] for each in report["live"]] == ["c", "b", "a"]
        for told, sequence in zip(report["live"], (first, second, third), strict=True):
            assert told["tokens"] == told["exact_tokens"] + told["old_tokens"] == len(sequence)
            assert (told["exact_pages"], told["old_pages"]) == (len(sequence.tail), len(sequence.old))
            assert told["bytes"] == told["exact_bytes"] + told["old_bytes"] + told["state_bytes"] == sequence.nbytes
        assert report["live"][2]["old_tokens"] == 64 and report["live"][2]["old_layers"] == report["live"][2]["layers"] == len(
            FORM.attention
        )
        pages, held = report["pages"], {page.start: page for each in (first, second, third) for page in (*each.old, *each.tail)}
        assert pages["pages"] == len(held) < sum(each["exact_pages"] + each["old_pages"] for each in report["live"])
        plain = caches.cache.plain
        assert pages["exact"] == sum(rounded(page.layout.size) for page in held.values() if page.layout == plain)
        assert pages["old"] == sum(rounded(page.layout.size) for page in held.values() if page.layout != plain) > 0
        assert pages["shared"] == sum(rounded(page.layout.size) for page in held.values() if page.refs > 1) > 0
        for id in "abc":
            caches.freeze(id)
        report = caches.report()
        assert report["pages"]["exact"] == report["pages"]["old"] == 0 and report["cold_sessions"] == 3
        caches.cache.identity = b"another model"
        assert not any(each["fits"] for each in caches.report()["cold"])

    async def test_reconsidered_in_slices_it_is_not_converted_to_and_fro(self, kernels, open_memory):
        memory = await open_memory()
        caches = caches_over(kernels, memory)
        caches.policies = PolicyStore(memory)
        for number in range(4):
            feed(caches.cache, caches.open(f"s{number}", priority=1.0).sequence, tokens(400, number))
        exact = {"precision": "q4_0", "quality_weight": 1.0, "layer_range": [0, 16]}
        caches.policies.put(PolicyEntry("quantization", exact, "instant_loop"))
        pool = caches.cache.pool
        grown = len(caches.find("s0").old) * (caches.cache.plain.size - caches.find("s0").layout.size)
        pool.resize(int((pool.used + 1.5 * grown) / 0.5))  # room below half of it for one of them in float16
        assert caches.reconsider() == 1 and pool.used / pool.budget < 0.5
        assert caches.reconsider() == 0 and [caches.find(f"s{number}").setting.old for number in range(4)].count("f16") == 1
        pool.resize(4 << 20)
        done = [caches.reconsider(0.0) for _ in range(4)]
        assert sum(done) == 3 and done[0] >= 1 and {caches.find(f"s{number}").setting.old for number in range(4)} == {"f16"}

    async def test_without_a_database_what_is_evicted_is_gone(self, kernels):
        cache = KvCache(FORM, Pool(60_000, kernels.empty), kernels, Setting(tail=32))
        caches = SessionCaches(cache)
        for number in range(6):
            feed(cache, caches.open(f"s{number}").sequence, tokens(90, number))
            cache.pool.unpin(caches.find(f"s{number}").holding)
        assert [caches.tier("s0"), caches.tier("s5")] == ["gone", "hot"]
        with pytest.raises(ConfigError, match="no database"):
            caches.freeze("s5")

    @pytest.mark.parametrize("architecture", ["lfm2", "qwen3"])
    async def test_the_next_tokens_are_those_without_interruption(self, kernels, open_memory, architecture):
        runner, memory = shared(kernels, architecture), await open_memory()
        caches = SessionCaches(runner.cache, memory.driver, clock=memory.clock)
        made = {}
        for id in ("interrupted", "whole"):
            runner.use(caches.open(id).sequence)
            logits, made[id] = runner.feed(prompt(130)), []
            for step in range(50):
                if id == "interrupted" and step in (7, 30):
                    caches.freeze(id)
                    resumed = caches.open(id)
                    assert resumed.tier == "cold"
                    runner.use(resumed.sequence)
                made[id].append(int(logits.argmax()))
                logits = runner.feed(made[id][-1:])
        assert made["interrupted"] == made["whole"]

    async def test_a_session_that_expires_gives_its_pages_back_and_finds_them_again(self, kernels, open_memory):
        memory = await open_memory()
        caches = caches_over(kernels, memory)
        caches.sessions.open("a")
        resumed = caches.open("a")
        feed(caches.cache, resumed.sequence, tokens(100))
        before = image(caches.cache, resumed.sequence)
        memory.clock.now += memory.config.session.idle_ms
        caches.cache.pool.pin(resumed.sequence.holding)
        assert caches.sessions.expire() == [] and caches.sessions.get("a").live  # an answer is being made
        caches.cache.pool.unpin(resumed.sequence.holding)
        assert caches.sessions.expire() == ["a"]
        assert (caches.tier("a"), caches.cache.pool.used, caches.sessions.get("a").kv_cache_ref.tier) == ("cold", 0, "cold")
        again = caches.open("a")
        assert again.tier == "cold" and image(caches.cache, again.sequence) == before
