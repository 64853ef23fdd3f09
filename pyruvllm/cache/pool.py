"""One budget for all that may be large: keys and values, adapters, router weights, index codes, the embedding cache.

    pool = Pool(512 << 20, kernels.empty, clock)
    session = pool.hold("kv", "session 7", priority=0.5, persist=..., release=...)
    start = pool.take(session, 100_000)          # evicts by need; PoolFullError where nothing helps
    pool.charge(router, 1_200_000)               # the same for memory that lies elsewhere

What is taken lies in one region that kernels see, reserved at once and touched from the bottom by need: WebAssembly memory grows and is
never given back, so that the region costs what it ever held. What may go is persisted before it goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import Clock
from ..errors import ConfigError, PersistError, PoolFullError
from .region import UNIT, Region, rounded

KINDS = ("kv", "adapter", "router", "index", "embedding")
HIGH, LOW = 0.90, 0.80  # of the budget: above the one, things are evicted until the other
RECENCY, SIZE, PRIORITY = 0.6, 0.2, 0.2  # what makes a victim
TRIED = 1 << 20  # bytes that hold numbers from the beginning: recording tries kernels on them
PIN_MS = 30_000  # that a pin lasts at most
CELLS = 96  # of the map in a report


@dataclass(eq=False)
class Holding:
    """Something that draws on the pool. Without ``release`` it stays for as long as its owner wants.

    persist: called before ``release``; where it raises, nothing is released. shrink: makes it smaller without losing it, and returns
    whether it did. taken: bytes in the region; charged: bytes elsewhere.
    """

    kind: str
    name: str
    priority: float = 0.5  # 0 ... 1, the higher the longer it stays
    persist: Callable[[], None] | None = None
    release: Callable[[], None] | None = None
    shrink: Callable[[], bool] | None = None
    taken: int = 0
    charged: int = 0
    used_at: float = 0.0  # milliseconds of the clock's monotonic time
    pinned_until: float = 0.0
    order: int = field(default=0, repr=False)  # of the last use: breaks ties of the clock

    @property
    def bytes(self) -> int:
        return self.taken + self.charged


@dataclass(frozen=True)
class Eviction:
    """One that happened. step: "shrunk" or "evicted"; saved: it was persisted, and can come back as it was.

    reason: "room" for something new, "pieces": what is free lay in holes that were too small for it, "watermark" between two pieces of
    work, "budget": it was lowered.
    """

    kind: str
    name: str
    step: str
    bytes: int
    at: int  # UTC milliseconds
    reason: str = "room"
    saved: bool = False


class Pool:
    """budget: bytes; empty: gives arrays that kernels see; fit: of the region; capacity: bytes of the region, where it is not the budget:
    more for a budget that may be raised, less where some of it is for what lies elsewhere."""

    def __init__(
        self,
        budget: int,
        empty: Callable[[Any, Any], np.ndarray] = np.empty,
        clock: Clock | None = None,
        *,
        fit: str = "best",
        capacity: int | None = None,
    ) -> None:
        if budget < UNIT:
            raise ConfigError(f"budget is {budget} bytes; at least {UNIT} would be right")
        self.clock = clock or Clock()
        self.region = Region(capacity or budget, fit)
        self.array = empty((self.region.size // UNIT, UNIT), np.uint8)  # (units, 256)
        self._bytes = self.array.reshape(-1)
        self._bytes[:TRIED] = 0
        self.budget = budget
        self.charged = 0
        self.peak = 0  # most bytes that were ever in use
        self.evictions: list[Eviction] = []  # the last hundred
        self.counts = {"shrunk": 0, "evicted": 0, "refused": 0}
        self.trimmed = False  # somebody calls ``trim`` now and then: allocations need not evict before the budget is full
        self._due = False
        self._holdings: dict[int, Holding] = {}
        self._sizes: dict[int, tuple[Holding, int]] = {}  # blocks, by start
        self._used = 0
        self._turn = 0

    @property
    def used(self) -> int:
        """Bytes in use, in the region and elsewhere, with what rounding takes."""
        return self._used

    @property
    def wasted(self) -> int:
        """Bytes that rounding takes."""
        return sum(rounded(size) - size for _, size in self._sizes.values())

    @property
    def holdings(self) -> Sequence[Holding]:
        return list(self._holdings.values())

    @property
    def blocks(self) -> int:
        return len(self._sizes)

    def hold(
        self,
        kind: str,
        name: str,
        *,
        priority: float = 0.5,
        persist: Callable[[], None] | None = None,
        release: Callable[[], None] | None = None,
        shrink: Callable[[], bool] | None = None,
    ) -> Holding:
        if kind not in KINDS:
            raise ConfigError(f"kind is {kind!r}; one of {', '.join(KINDS)} would be right")
        if not 0 <= priority <= 1:
            raise ConfigError(f"priority is {priority!r}; a number between 0 and 1 would be right")
        holding = Holding(kind, name, priority, persist, release, shrink)
        self._holdings[id(holding)] = holding
        self.touch(holding)
        return holding

    def drop(self, holding: Holding) -> None:
        """Its owner is done with it: nothing of it is left."""
        for start in [start for start, (owner, _) in self._sizes.items() if owner is holding] if holding.taken else []:
            self.give(start)
        self.charge(holding, 0)
        self._holdings.pop(id(holding), None)

    def take(self, holding: Holding, size: int, *, evict: bool = True) -> int:
        """The start of ``size`` bytes in the region, at a multiple of 256. PoolFullError, PersistError: then nothing was taken."""
        needed = rounded(size)
        if evict:
            self._watch(needed, holding)
        start = self.region.take(size) if self._used + needed <= self.budget else None
        if start is None:
            start = self._defragmented(size, holding, evict)
        self._sizes[start] = (holding, size)
        holding.taken += needed
        self._count(needed)
        return start

    def give(self, start: int) -> None:
        holding, size = self._sizes.pop(start)
        self.region.give(start, size)
        holding.taken -= rounded(size)
        self._used -= rounded(size)

    def charge(self, holding: Holding, size: int) -> None:
        """Says how many bytes it holds outside of the region by now. PoolFullError, PersistError: then it is charged as before."""
        more = size - holding.charged
        if more > 0:
            self._watch(more, holding)
        holding.charged += more
        self.charged += more
        self._count(more)

    def move(self, start: int, holding: Holding) -> None:
        """Gives a block to another holding."""
        owner, size = self._sizes[start]
        owner.taken -= rounded(size)
        holding.taken += rounded(size)
        self._sizes[start] = (holding, size)

    def view(self, start: int, size: int) -> np.ndarray:
        """(size,) uint8: a block's bytes."""
        return self._bytes[start : start + size]

    def touch(self, holding: Holding) -> None:
        """It is being used."""
        self._turn += 1
        holding.used_at, holding.order = self.clock.elapsed_ms(), self._turn

    def pin(self, holding: Holding, ms: float = PIN_MS) -> None:
        """Keeps it from being evicted for a time, at most 30 s: what is pinned and forgotten does not stay for ever."""
        holding.pinned_until = self.clock.elapsed_ms() + min(ms, PIN_MS)
        self.touch(holding)

    def unpin(self, holding: Holding) -> None:
        holding.pinned_until = 0.0

    def pinned(self, holding: Holding) -> bool:
        return holding.pinned_until > self.clock.elapsed_ms()

    def resize(self, budget: int) -> None:
        """Another budget, within the region and what lies elsewhere. PoolFullError where what must stay is more: it is then what it was."""
        if budget < UNIT:
            raise ConfigError(f"budget is {budget} bytes; at least {UNIT} would be right")
        before, self.budget = self.budget, min(budget, self.region.size + self.charged)
        try:
            if self._used > HIGH * self.budget:
                self._make_room(0, None, "budget")
        except (PoolFullError, PersistError):
            self.budget = before
            raise

    def trim(self, ms: float = 10.0) -> bool:
        """Where the high watermark was passed: evicts down to the low one, for about so many milliseconds; whether there is more to do.

        Between two pieces of work, so that allocations find room. PersistError.
        """
        end = self.clock.elapsed_ms() + ms
        for step in (self._shrunk, self._evicted) if self._due else ():
            for victim in self._victims(None):
                if self._used <= LOW * self.budget:
                    break
                before = self._used
                step(victim, "watermark")
                if self._used < before and self.clock.elapsed_ms() > end:
                    return True
        self._due = False
        return False

    def report(self) -> dict[str, Any]:
        """For a person or a page, as JSON."""
        kinds = {kind: 0 for kind in KINDS}
        for holding in self._holdings.values():
            kinds[holding.kind] += holding.bytes
        return {
            "budget": self.budget,
            "high": int(HIGH * self.budget),
            "low": int(LOW * self.budget),
            "used": self._used,
            "peak": self.peak,
            "kinds": kinds,
            "holdings": len(self._holdings),
            "blocks": len(self._sizes),
            "wasted": self.wasted,
            "fragmentation": self.region.fragmentation,
            "largest_hole": self.region.largest,
            "region": self.region.size,
            "touched": self.region.touched,
            "map": self.region.occupancy(CELLS),
            "counts": dict(self.counts),
            "evictions": [eviction.__dict__ for eviction in self.evictions[-20:]],
        }

    def _count(self, more: int) -> None:
        self._used += more
        self.peak = max(self.peak, self._used)

    def _watch(self, needed: int, asking: Holding) -> None:
        if self._used + needed > HIGH * self.budget:
            self._due = True
            if not self.trimmed or self._used + needed > self.budget:
                self._make_room(needed, asking)

    def _make_room(self, needed: int, asking: Holding | None, reason: str = "room") -> None:
        """Evicts down to the low watermark; raises where the budget would not hold what is needed."""
        staying = sum(each.bytes for each in self._holdings.values() if each.release is None or each is asking)
        if needed and staying + needed > self.budget:
            self.counts["refused"] += 1
            stays = f"{staying} of it are held by what stays" if staying else "nothing else is in it"
            raise PoolFullError(f"{needed} bytes do not fit a budget of {self.budget}: {stays}")
        goal = LOW * self.budget - needed
        for step in (self._shrunk, self._evicted):
            for victim in self._victims(asking):
                if self._used <= goal:
                    return
                step(victim, reason)
        if self._used + needed > self.budget:
            self.counts["refused"] += 1
            raise PoolFullError(f"{needed} bytes do not fit: {self._used} of {self.budget} are in use, and all of it is pinned or stays")

    def _victims(self, asking: Holding | None) -> list[Holding]:
        """What may go, what should go first before the others."""
        now = self.clock.elapsed_ms()
        free = [each for each in self._holdings.values() if each is not asking and each.pinned_until <= now and each.bytes]
        free = [each for each in free if each.release is not None or each.shrink is not None]
        if not free:
            return []
        oldest = max(now - min(each.used_at for each in free), 1.0)
        largest = max(each.bytes for each in free)

        def score(each: Holding) -> tuple[float, int]:
            parts = RECENCY * (now - each.used_at) / oldest + SIZE * each.bytes / largest + PRIORITY * (1 - each.priority)
            return -parts, each.order

        return sorted(free, key=score)

    def _shrunk(self, victim: Holding, reason: str) -> None:
        before = victim.bytes
        if victim.shrink is not None and victim.shrink() and victim.bytes != before:
            self._note(victim, "shrunk", before - victim.bytes, reason)

    def _evicted(self, victim: Holding, reason: str) -> None:
        if victim.release is None:
            return
        before = self._used
        if victim.persist is not None:
            try:
                victim.persist()
            except Exception as error:
                raise PersistError(f"{victim.kind} {victim.name!r} could not be persisted and stays in memory: {error}") from error
        victim.release()
        if self._used != before:
            self._note(victim, "evicted", before - self._used, reason, victim.persist is not None)

    def _note(self, victim: Holding, step: str, size: int, reason: str, saved: bool = False) -> None:
        self.counts[step] += 1
        self.evictions = [*self.evictions[-99:], Eviction(victim.kind, victim.name, step, size, self.clock.now_ms(), reason, saved)]

    def _defragmented(self, size: int, asking: Holding, evict: bool) -> int:
        """The budget has room, but no hole is large enough: victims go until there is one."""
        for step in (self._shrunk, self._evicted) if evict else ():
            for victim in self._victims(asking):
                step(victim, "pieces")
                start = self.region.take(size)
                if start is not None:
                    return start
        self.counts["refused"] += 1
        raise PoolFullError(
            f"{rounded(size)} bytes do not fit in one piece: {self.region.free} are free, the largest hole has {self.region.largest}"
        )
