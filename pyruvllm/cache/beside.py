"""The pool of a memory: what its vector indexes and its embedding cache hold counts beside the conversations of a model.

As they grow, conversations leave memory; they themselves are needed by every request and stay.
"""

import logging

from ..errors import CacheError
from ..host import current
from ..kernels.registry import KernelRegistry
from ..memory.unified import UnifiedMemory
from .budget import allowed
from .pool import Pool

EMBEDDING = 1536  # bytes of a vector in the embedding cache
LEAST = 4 << 20  # bytes for conversations beside one whole one

log = logging.getLogger("pyruvllm")


class MemoryPool:
    """budget: bytes for conversations at most, where the device has the room; one: bytes that one may take, for which there is room."""

    def __init__(self, memory: UnifiedMemory, kernels: KernelRegistry, budget: int, one: int) -> None:
        self.memory = memory
        device = current().device()
        room = allowed(min(budget, 8 * one), device.memory, device.heap, heap=device.limit)
        room = max(room, one + one // 4 + LEAST)
        beside = self.beside()
        self.pool = Pool(room + 2 * sum(beside.values()), kernels.empty, memory.config.clock, capacity=room)
        self._holdings = {kind: self.pool.hold(kind, "of the memory", priority=1.0) for kind in beside}
        self.weigh()

    def beside(self) -> dict[str, int]:
        """Bytes of what draws on the pool and lies elsewhere, by kind."""
        ((cached,),) = self.memory.driver.query("SELECT count(*) FROM embeddings")
        index = sum(collection.index.nbytes for collection in self.memory.collections())
        return {"index": index, "embedding": EMBEDDING * int(cached)}  # type: ignore[arg-type]

    def weigh(self) -> None:
        """Tells the pool what they hold by now."""
        for kind, size in self.beside().items():
            try:
                self.pool.charge(self._holdings[kind], size)
            except CacheError as error:
                log.warning("the %s of the memory holds more than the pool has room for: %s", kind, error)
