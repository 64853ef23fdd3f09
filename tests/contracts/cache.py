"""The cache of keys and values: what is written is read back, whoever shares it, whatever tier it is in; and no page is lost.

Bound by a fixture ``kernels``: a KernelRegistry.
"""

from dataclasses import replace

import numpy as np
import pytest

from pyruvllm.cache import EXACT, PAGE, Form, KvCache, Pool, Setting
from pyruvllm.cache.region import UNIT
from pyruvllm.errors import CacheError, ConfigError, PoolFullError

FORM = Form((0, 1, 0, 2), 16, (2, 2, 8))
NEAR = {"f16": 0.06, "q8": 0.4, "q8q4": 4.0, "q4": 4.0}  # of numbers up to 20: how far what is read may be from what was written


def made(kernels, budget=4 << 20, **setting):
    return KvCache(FORM, Pool(budget, kernels.empty), kernels, Setting(**{"tail": 32, **setting}))


def numbers(token, position, heads, keys):
    """What stands for the keys or values of a token."""
    channels = np.arange(FORM.dim) * (0.05 if keys else 0.1)
    return (token % 37 - 18 + 0.01 * (position % 50) + channels + np.arange(heads)[:, None]).astype(np.float32)


def feed(cache, sequence, tokens):
    """Writes and advances, as a decoder does."""
    cache.reserve(sequence, len(tokens))
    first = len(sequence) - sequence.old_tokens
    table = cache.store._table(sequence.tail)
    for layer in FORM.attention:
        heads = FORM.kv_heads[layer]
        k, v = (np.stack([numbers(token, len(sequence) + i, heads, keys) for i, token in enumerate(tokens)]) for keys in (True, False))
        for each in (k, v) if sequence.setting.rotate else ():
            cache.kernels.run("hadamard", x=each, rows=heads * len(tokens), dim=FORM.dim)
        keys_at, values_at = cache.plain.places[layer]
        place = {"pool": cache.pool.array, "count": len(cache.pool.array), "stride": UNIT, "keys_at": keys_at, "values_at": values_at}
        place |= {"kv_heads": heads, "dim": FORM.dim, "page": PAGE, "pages": len(table), "table": table}
        cache.kernels.run("kv_write_f16", k=k, v=v, tokens=len(tokens), position=first, **place)
    cache.advance(sequence, tokens)


def read(cache, sequence, layer):
    """(k, v), (tokens, heads, dim) float32"""
    found = []
    for pages in (sequence.old, sequence.tail):
        for page in pages:
            heads, (keys_at, values_at) = FORM.kv_heads[layer], page.layout.places[layer]
            k, v = (cache.kernels.empty((PAGE, heads, FORM.dim), np.float32) for _ in range(2))
            place = {"pool": cache.pool.array, "count": len(cache.pool.array), "stride": UNIT, "keys_at": keys_at, "values_at": values_at}
            place |= {"kv_heads": heads, "dim": FORM.dim, "page": PAGE, "pages": 1, "table": cache.store._table([page])}
            cache.kernels.run(f"kv_dequantize_{page.layout.kinds[layer]}", k=k, v=v, **place)
            for each in (k, v) if sequence.setting.rotate else ():
                cache.kernels.run("hadamard", x=each, rows=PAGE * heads, dim=FORM.dim)
            found.append((k, v))
    return [np.concatenate([pair[side] for pair in found])[: len(sequence)] for side in (0, 1)] if found else [np.empty(0)] * 2


def check(cache, sequence, near=None):
    for layer in FORM.attention:
        for side, found in enumerate(read(cache, sequence, layer)):
            for position, token in enumerate(sequence.tokens):
                most = NEAR[sequence.setting.old] if near is None and position < sequence.old_tokens else near or NEAR["f16"]
                expected = numbers(token, position, FORM.kv_heads[layer], side == 0)
                assert np.abs(found[position] - expected).max() <= most, (layer, side, position)


def tokens(count, seed=0):
    return np.random.default_rng(seed).integers(0, 1000, count).tolist()


class CacheContract:
    @pytest.mark.parametrize("old", ["f16", "q8", "q8q4", "q4"])
    @pytest.mark.parametrize("rotate", [False, True])
    def test_what_is_written_is_read_from_both_tiers(self, kernels, old, rotate):
        cache = made(kernels, old=old, rotate=rotate)
        sequence = cache.open()
        for start in range(0, 200, 7):
            feed(cache, sequence, tokens(200)[start : start + 7])
        assert len(sequence) == 200
        assert (sequence.old_tokens > 0) == (old != "f16")
        assert len(sequence) - sequence.old_tokens >= 32
        check(cache, sequence, 8.0 if rotate and old in ("q4", "q8q4") else None)

    def test_old_tokens_take_the_bytes_that_are_told(self, kernels):
        sizes = {}
        for old in ("f16", "q8", "q8q4", "q4"):
            cache = made(kernels, old=old)
            sequence = cache.open()
            feed(cache, sequence, tokens(256))
            pages = (*sequence.old, *sequence.tail)
            assert sequence.nbytes == sum(cache.store.view(page).nbytes for page in pages) + sequence.state.nbytes
            sizes[old] = sum(page.layout.size for page in pages[:8])
        assert sizes["f16"] > 1.5 * sizes["q8"] > 1.5 * 1.1 * sizes["q8q4"] > 1.5 * 1.1 * 1.1 * sizes["q4"]

    def test_a_fork_shares_pages_and_copies_what_it_writes_to(self, kernels):
        cache = made(kernels)
        first = cache.open()
        feed(cache, first, tokens(150))
        before = cache.store.pages
        second = cache.fork(first)
        assert cache.store.pages == before
        feed(cache, second, tokens(20, 1))
        feed(cache, first, tokens(20, 2))
        assert second.tokens == tokens(150) + tokens(20, 1) and first.tokens == tokens(150) + tokens(20, 2)
        check(cache, first)
        check(cache, second)
        cache.release(first)
        check(cache, second)
        cache.release(second)
        cache.store.forget()
        assert (cache.store.pages, cache.pool.used) == (0, 0)

    def test_room_for_a_fork_is_not_made_of_what_is_forked(self, kernels):
        cache = made(kernels, budget=64 << 10)
        first = cache.open(identity=b"an adapter")
        feed(cache, first, tokens(64))
        filler = cache.pool.hold("kv", "filler")
        cache.pool.charge(filler, cache.pool.budget - cache.pool.used)
        first.holding.release = lambda: cache.release(first)
        first.holding.used_at = -1e6  # it would be the first to go
        with pytest.raises(PoolFullError):
            cache.fork(first)
        assert not first.released and len(first) == 64 and not cache.pool.pinned(first.holding)
        filler.release = lambda: cache.pool.drop(filler)
        second = cache.fork(first)
        assert (second.tokens, second.identity) == (first.tokens, b"an adapter")
        check(cache, second)

    def test_known_beginnings_are_found_and_not_written_to(self, kernels):
        cache = made(kernels)
        first = cache.open()
        feed(cache, first, tokens(100))
        second = cache.open(tokens(100))
        assert 16 * 5 <= len(second) < 100 and second.tokens == tokens(100)[: len(second)]
        feed(cache, second, tokens(40, 3))
        check(cache, first)
        check(cache, second)
        assert len(cache.open(tokens(100, 4))) == 0
        assert len(cache.open(tokens(100), Setting(tail=32, old="q4"))) == 0  # its first pages are in another layout
        assert len(cache.open(tokens(100), identity=b"another model")) == 0

    def test_what_was_released_may_be_found_until_the_room_is_needed(self, kernels):
        cache = made(kernels, 80_000)
        first = cache.open()
        feed(cache, first, tokens(90))
        cache.release(first, keep=True)
        assert cache.store.pages > 0
        again = cache.open(tokens(90))
        assert len(again) == 80
        check(cache, again)
        cache.release(again, keep=True)
        other = cache.open()
        for start in range(0, 460, 20):
            feed(cache, other, tokens(460, 5)[start : start + 20])
        check(cache, other)
        assert len(cache.open(tokens(90))) == 0

    @pytest.mark.parametrize("length", [0, 16, 50, 70, 150])
    def test_tokens_are_taken_back(self, kernels, length):
        cache = made(kernels)
        sequence, other = cache.open(), None
        feed(cache, sequence, tokens(150))
        other = cache.fork(sequence)
        cache.truncate(sequence, length)
        assert sequence.tokens == tokens(150)[:length]
        check(cache, sequence, NEAR["q8"])
        feed(cache, sequence, tokens(30, 6))
        check(cache, sequence, NEAR["q8"])
        check(cache, other)
        with pytest.raises(ConfigError, match="-1"):
            cache.truncate(sequence, -1)

    def test_a_page_that_is_written_to_again_is_not_found_by_what_it_held(self, kernels):
        cache = made(kernels)
        sequence = cache.open()
        feed(cache, sequence, tokens(48))
        cache.truncate(sequence, 40)
        feed(cache, sequence, tokens(30, 1))
        again = cache.open(tokens(60))
        assert len(again) == 32
        check(cache, again)

    @pytest.mark.parametrize("first", [EXACT, Setting(32, "q8"), Setting(32, "q4", rotate=True)])
    @pytest.mark.parametrize("second", [EXACT, Setting(32, "q8"), Setting(64, "q8q4"), Setting(16, "q4", rotate=True)])
    def test_the_setting_is_changed_in_place(self, kernels, first, second):
        cache = made(kernels)
        sequence = cache.open(setting=first)
        feed(cache, sequence, tokens(170))
        other = cache.fork(sequence)
        cache.change(sequence, second)
        assert sequence.setting == second
        check(cache, sequence, 8.0 if "q4" in (first.old + second.old) else NEAR["q8"] * 2)
        feed(cache, sequence, tokens(100, 7))
        check(cache, sequence, 8.0 if "q4" in (first.old + second.old) else NEAR["q8"] * 2)
        check(cache, other, 8.0 if first.rotate else None)

    def test_demoted_all_full_pages_are_quantised(self, kernels):
        cache = made(kernels)
        for setting in (Setting(32, "q8"), EXACT):
            sequence = cache.open(setting=setting)
            feed(cache, sequence, tokens(100))
            before = sequence.nbytes
            assert cache.demote(sequence) and not cache.demote(sequence)
            assert sequence.old_tokens == 96 and sequence.nbytes < 0.9 * before
            check(cache, sequence)
            feed(cache, sequence, tokens(100, 8))
            check(cache, sequence)
            cache.release(sequence)

    def test_some_layers_may_stay_exact(self, kernels):
        cache = made(kernels, old="q4", layers=(2, 4))
        sequence = cache.open()
        feed(cache, sequence, tokens(150))
        assert sequence.layout.kinds == ("f16", "f16", "q4", "q4")
        exact, rough = read(cache, sequence, 1)[0], read(cache, sequence, 3)[0]
        expected = [np.stack([numbers(token, at, heads, True) for at, token in enumerate(sequence.tokens)]) for heads in (1, 2)]
        assert np.abs(exact - expected[0]).max() < NEAR["f16"] < np.abs(rough - expected[1]).max() < NEAR["q4"]

    def test_a_full_pool_refuses_and_loses_nothing(self, kernels):
        cache = made(kernels, 60_000)
        sequence = cache.open()
        with pytest.raises(PoolFullError, match="60000"):
            for start in range(0, 5000, 10):
                feed(cache, sequence, tokens(5000)[start : start + 10])
        assert sequence.tokens == tokens(5000)[: len(sequence)] and len(sequence) > 100
        check(cache, sequence)
        assert cache.pool.peak <= 60_000
        cache.release(sequence)
        assert cache.pool.used == 0
        with pytest.raises(CacheError, match="given back"):
            cache.reserve(sequence, 1)

    def test_heads_that_cannot_be_rotated_are_refused(self, kernels):
        cache = KvCache(replace(FORM, dim=20), Pool(1 << 20, kernels.empty), kernels)
        with pytest.raises(ConfigError, match="20"):
            cache.open(setting=Setting(rotate=True))
