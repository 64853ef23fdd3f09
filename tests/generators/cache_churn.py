"""Sequences that come, grow, are forked, cut, converted, made small and given back, beside a model that says what must be there.

The model: the tokens of each sequence, and a failing disk now and then. After any number of operations each page's references are
those of the sequences that hold it, the pool's bytes are those of the pages, and when all is given back nothing is left.
"""

from collections import Counter

import numpy as np

from pyruvllm.cache import PAGE, Form, KvCache, Pool, Setting
from pyruvllm.cache.region import rounded
from pyruvllm.config import Clock
from pyruvllm.errors import PersistError, PoolFullError

SETTINGS = [Setting(32, "q8"), Setting(0, "q8q4"), Setting(64, "q4", rotate=True), Setting(32, "f16")]
OPERATIONS = ("open", "open", "grow", "grow", "grow", "fork", "cut", "change", "demote", "release", "release", "forget")


class Churn:
    def __init__(self, kernels, budget=60_000, fit="best"):
        self.cache = KvCache(Form((1, 0), 8, (1, 2, 4)), Pool(budget, kernels.empty, Ticking(), fit=fit), kernels)
        self.pool, self.store = self.cache.pool, self.cache.store
        self.there = {}  # name: (sequence, its tokens)
        self.saved = {}  # what was evicted, and had to be persisted first
        self.failing = False
        self.count = Counter()
        self._names = 0

    def step(self, operation, a, b):
        """a, b: whole numbers that decide what it is done with and how much."""
        self.pool.clock.ms += b % 100
        self.failing = a % 3 == 0
        names = list(self.there)
        if not names and operation not in ("open", "forget"):
            return
        name = names[a % len(names)] if names else ""
        try:
            getattr(self, f"_{operation}")(name, a, b)
            self.count[operation] += 1
        except (PoolFullError, PersistError) as error:
            self.count[type(error).__name__] += 1

    def check(self):
        held = Counter()
        for name, (sequence, tokens) in self.there.items():
            assert sequence.tokens == tokens, name
            assert len(sequence.old) + len(sequence.tail) >= -(-len(tokens) // PAGE)
            assert all(page.layout == sequence.layout for page in sequence.old)
            assert all(page.layout == self.cache.plain for page in sequence.tail)
            held.update([*sequence.old, *sequence.tail])
        idle = [page for page in self.store._idle.values()]
        assert all(page.refs == count for page, count in held.items())
        assert all(page.refs == 0 and page not in held for page in idle)
        assert self.store.pages == len(held) + len(idle)
        bytes_ = sum(rounded(page.layout.size) for page in [*held, *idle])
        states = sum(rounded(sequence.state.nbytes) for sequence, _ in self.there.values())
        assert self.pool.used == self.pool.region.used == bytes_ + states <= self.pool.budget
        assert self.pool.peak <= self.pool.budget
        starts = sorted((page.start, rounded(page.layout.size)) for page in [*held, *idle])
        assert all(a + size <= b for (a, size), (b, _) in zip(starts, starts[1:], strict=False))

    def end(self):
        for name in list(self.there):
            self._release(name, 0, 0)
        self.store.forget()
        assert (self.store.pages, self.pool.used, self.pool.blocks, len(self.pool.holdings)) == (0, 0, 0, 1)
        assert self.pool.region.holes == [(0, self.pool.region.size)]

    def _open(self, name, a, b):
        self._names += 1
        name = f"{self._names}"
        prompt = [a % 3] * (b % 90)  # three texts that many begin with
        sequence = self.cache.open(prompt, SETTINGS[a % 4], name=name, priority=a % 10 / 10)
        self._owned(name, sequence, list(sequence.tokens))
        assert sequence.tokens == prompt[: len(sequence)]
        self._grown(name, prompt[len(sequence) :])

    def _grow(self, name, a, b):
        self._grown(name, [a % 50] * (b % 40))

    def _grown(self, name, tokens):
        if tokens and name in self.there:
            sequence, known = self.there[name]
            self.pool.touch(sequence.holding)
            self.cache.reserve(sequence, len(tokens))
            known += tokens
            self.cache.advance(sequence, tokens)

    def _fork(self, name, a, b):
        self._names += 1
        sequence, tokens = self.there[name]
        other = self.cache.fork(sequence, name=f"{self._names}")
        self._owned(f"{self._names}", other, list(tokens))

    def _cut(self, name, a, b):
        sequence, tokens = self.there[name]
        length = b % (len(tokens) + 1)
        self.cache.truncate(sequence, length)
        del tokens[length:]

    def _change(self, name, a, b):
        self.cache.change(self.there[name][0], SETTINGS[b % 4])

    def _demote(self, name, a, b):
        self.cache.demote(self.there[name][0])

    def _release(self, name, a, b):
        sequence, _ = self.there.pop(name)
        self.cache.release(sequence, keep=bool(b % 2))

    def _forget(self, name, a, b):
        if a % 5 == 0:
            self.store.forget()

    def _owned(self, name, sequence, tokens):
        self.there[name] = sequence, tokens
        sequence.holding.persist = lambda: self._persist(name)
        sequence.holding.release = lambda: self._evict(name)
        sequence.holding.shrink = lambda: self._shrink(name)

    def _persist(self, name):
        if self.failing:
            raise OSError("no space left on device")
        self.saved[name] = list(self.there[name][0].tokens)

    def _evict(self, name):
        sequence, tokens = self.there.pop(name)
        assert self.saved.pop(name) == tokens[: len(sequence)]
        self.cache.release(sequence)

    def _shrink(self, name):
        try:
            return self.cache.demote(self.there[name][0])
        except PoolFullError:
            return False


class Ticking(Clock):
    def __init__(self):
        self.ms = 0.0

    def elapsed_ms(self):
        return self.ms


def random_steps(churn, count, seed, every=500):
    random = np.random.default_rng(seed)
    for number, (operation, a, b) in enumerate(random.integers(0, 1 << 30, (count, 3)).tolist()):
        churn.step(OPERATIONS[operation % len(OPERATIONS)], a, b)
        if number % every == 0:
            churn.check()
    churn.check()
