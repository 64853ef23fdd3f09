"""A model at work on a text of its own, guessing for another whose pool it shares: conversations come first."""

from collections.abc import Sequence
from weakref import ref

import numpy as np

from ..cache import KvCache, Pool
from ..cache import Sequence as Cached
from ..kernels.registry import KernelRegistry
from .decoder import Runner, form_of
from .parts import Parts
from .shape import Shape
from .speaker import Pace


class Assistant(Runner):
    """What it keeps of the text may be evicted between any two readings, before anything else; it reads the text again then."""

    def __init__(self, shape: Shape, parts: Parts, kernels: KernelRegistry, context: int, pool: Pool, name: str) -> None:
        super().__init__(shape, parts, kernels, context, cache=KvCache(form_of(shape), pool, kernels))
        holding, known = self.sequence.holding, ref(self)
        holding.name, holding.priority, holding.release = f"guesses of {name}", 0.0, lambda: _emptied(known())

    async def read(self, ids: Sequence[int], pace: Pace, every: bool = False, sequence: Cached | None = None) -> np.ndarray:
        try:
            return await super().read(ids, pace, every, sequence)
        finally:
            self.cache.pool.unpin(self.sequence.holding)

    def close(self) -> None:
        """Gives back all that it has of the pool."""
        self.cache.release(self.sequence)
        self.cache.store.close()


def _emptied(runner: Assistant | None) -> None:
    if runner is not None:
        runner.reset()
        runner.cache.store.forget()
