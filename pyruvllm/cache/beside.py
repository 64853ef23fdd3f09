"""The pool of a memory: what its vector indexes, its embedding cache and its router hold counts beside the conversations of a model.

As they grow, conversations leave memory; they themselves are needed by every request and stay.
"""

import logging
from collections.abc import Callable
from typing import Any

from ..config import Clock
from ..errors import CacheError
from ..host import current
from ..kernels.registry import KernelRegistry
from ..memory.unified import UnifiedMemory
from .budget import Follower, allowed
from .pool import Pool

EMBEDDING = 1536  # bytes of a vector in the embedding cache
LEAST = 4 << 20  # bytes for conversations beside one whole one

log = logging.getLogger("pyruvllm")


def lying_beside(memory: UnifiedMemory, router: int) -> dict[str, int]:
    """Bytes of what draws on the pool and lies elsewhere, by kind. router: of the weights that it routes by."""
    ((cached,),) = memory.driver.query("SELECT count(*) FROM embeddings")
    index = sum(collection.index.nbytes for collection in memory.collections())
    return {"index": index, "embedding": EMBEDDING * int(cached), "router": router}  # type: ignore[arg-type]


class MemoryPool:
    """beside: gives what ``lying_beside`` does; budget: bytes for conversations at most, where the device has the room; one: bytes that one
    may take, for which there is room. pressure: how short memory is, as ``budget.PRESSURE`` has it.
    """

    def __init__(
        self, beside: Callable[[], dict[str, int]], kernels: KernelRegistry, clock: Clock, budget: int, one: int, pressure: str = "nominal"
    ) -> None:
        self.beside, self.pressure = beside, pressure
        sizes = beside()
        least = one + one // 4 + LEAST
        room = max(for_conversations(min(budget, 8 * one)), least)
        self.pool = Pool(room + 2 * sum(sizes.values()), kernels.empty, clock, capacity=room)
        self.follower = Follower(self.pool, current(), least=least + sum(sizes.values()))
        self._holdings = {kind: self.pool.hold(kind, "of the memory", priority=1.0) for kind in sizes}
        self.follow()

    def weigh(self) -> None:
        """Tells the pool what lies elsewhere by now."""
        for kind, size in self.beside().items():
            try:
                self.pool.charge(self._holdings[kind], size)
            except CacheError as error:
                log.warning("the %s of the memory holds more than the pool has room for: %s", kind, error)

    def follow(self) -> int:
        """Weighs, and sets the budget by what the device, the heap and the pressure leave; the budget."""
        self.weigh()
        return self.follower.look(self.pressure)


def for_conversations(budget: int, pressure: str = "nominal") -> int:
    """Bytes of it that this device has room for by now."""
    device = current().device()
    return allowed(budget, device.memory, device.heap, pressure, device.limit)


def report(beside: Callable[[], dict[str, int]], pool: MemoryPool | None, budget: int, pressure: str) -> dict[str, Any]:
    """As JSON: the pool's own report, or before there is one what it could have for conversations at most, and what lies elsewhere."""
    device = current().device()
    told = {"pressure": pressure, "device": device.memory, "heap": device.heap, "limit": device.limit}
    if pool is None:
        sizes = beside()
        return {**told, "budget": for_conversations(budget, pressure), "used": sum(sizes.values()), "kinds": sizes, "pool": None}
    found = pool.pool.report()
    return {**told, **{name: found[name] for name in ("budget", "used", "kinds")}, "pool": found}
