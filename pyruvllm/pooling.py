"""What a memory holds in the working memory of this device, under one budget that follows how things are."""

from typing import Any

from .cache import Caching, Setting
from .cache.beside import MemoryPool, lying_beside, report
from .cache.budget import PRESSURE
from .config import COLD, Config
from .errors import ConfigError
from .host import current
from .kernels.registry import KernelRegistry
from .memory.policy import PolicyStore
from .memory.session import SessionIndex
from .memory.unified import UnifiedMemory
from .models.language import LanguageModel
from .models.shape import Shape
from .models.shelf import ModelShelf
from .routing.router import PolicyRouter
from .storage.driver import Driver


class Pooled:
    """What ``RuvLLM`` can do about its pool. ``pool``: while a language model is loaded, else None."""

    config: Config
    memory: UnifiedMemory
    kernels: KernelRegistry | None
    sessions: SessionIndex
    policies: PolicyStore
    router: PolicyRouter
    models: ModelShelf
    pool: MemoryPool | None = None
    _pressure = "nominal"

    def under_pressure(self, level: str) -> int:
        """Says how short memory is on this device, as far as its host knows: "nominal", "fair", "serious" or "critical".

        What does not fit any more is made smaller or saved and let go of at once, and what is said next is kept accordingly. Returns the
        bytes that the pool may hold, or could, without a model. ConfigError.
        """
        if level not in PRESSURE:
            raise ConfigError(f"pressure is {level!r}; one of {', '.join(PRESSURE)} would be right")
        self._pressure = level
        if self.pool is not None:
            self.pool.pressure = level
        self._settle()
        return self.in_use()["budget"]

    def ran_out(self) -> None:
        """Memory ended in the middle of an answer: the pool stays small for as long as this model is loaded."""
        if self.pool is not None:
            self.pool.pressure = "critical"

    def in_use(self) -> dict[str, Any]:
        """What is held in working memory, as JSON: budget, what holds how much, the pool's and the conversations' own reports.

        The reports are None without a model, and with one that keeps its conversation itself (ONNX). Then the budget is what
        conversations could have, and only what the memory itself holds is there.
        """
        model, loaded = self.models.model, self.models.loaded
        if self.pool is not None and not self.memory.busy:  # what gives way is saved, in a transaction of its own
            self.pool.weigh()
        pressure = self._pressure if self.pool is None else self.pool.pressure
        told = report(self._beside, self.pool, self.config.cache.budget, pressure)
        caches = model.caches.report() if isinstance(model, LanguageModel) else None
        return {**told, "model": loaded and {"id": loaded.id, "name": loaded.name, "context": loaded.context}, "caches": caches}

    def _beside(self) -> dict[str, int]:
        return lying_beside(self.memory, self.router.nbytes)

    def _caching(self, one: int) -> Caching:
        """Where a model keeps conversations, of which one may take so many bytes."""
        assert self.kernels is not None
        cache = self.config.cache
        self.pool = MemoryPool(self._beside, self.kernels, self.config.clock, cache.budget, one, self._pressure)
        return Caching(
            self.pool.pool,
            driver=self.memory.driver,
            sessions=self.sessions,
            policies=self.policies,
            setting=Setting(cache.tail, cache.old, cache.rotate) if cache.chosen else None,
            limit=COLD[current().name] if cache.cold is None else cache.cold,
        )

    def _check(self, shape: Shape) -> None:
        if self.config.cache.rotate and shape.head_dim & (shape.head_dim - 1):
            why = f"heads of {shape.head_dim} numbers cannot be rotated, as Config.cache.rotate wants it"
            raise ConfigError(f"{why}; without it, or of a power of two, they could be. The model was not loaded")

    def _driver(self) -> Driver:
        return self.memory.driver

    def _unpooled(self) -> None:
        """The model is gone, and what was held for it with it."""
        self.pool = None

    def _settle(self) -> None:
        """The pool holds what it may by now, and each conversation is kept as exactly as the policy in force and the room say."""
        if self.pool is not None and self.models.model is not None:
            self.pool.follow()
            self.models.settle()
