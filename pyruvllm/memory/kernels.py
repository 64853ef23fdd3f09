"""What the registry of kernels measured, kept as policies of the type "kernel": one for each pack of kernels in each engine.

Latencies hold for the pack and the engine they were measured with, so only those of the same two are taken up. They are written when
something is flushed anyway, and only after a decision; a version takes the place of the one before the last.
"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from ..config import Clock
from ..errors import KernelError
from ..kernels import manifest
from ..kernels.accelerate import HnswKernels
from ..kernels.registry import KernelRegistry
from ..kernels.shelf import DriverShelf
from ..kernels.store import PackStore
from ..storage import migrate
from ..storage.driver import Driver
from .policy import PolicyEntry, PolicyStore

TYPE = "kernel"
VERSIONS = 2  # of the same pack and engine that are kept
OTHERS = 8  # newest ones of other packs and engines that are kept

log = logging.getLogger("pyruvllm")


class Registry(Protocol):
    """A KernelRegistry, as far as it matters here."""

    @property
    def pack(self) -> str: ...

    @property
    def engine(self) -> str: ...

    @property
    def changes(self) -> int: ...

    def statistics(self) -> dict[str, Any]: ...

    def restore(self, statistics: Mapping[str, Any]) -> None: ...

    def tested(self) -> dict[str, Any]: ...

    def retest(self, tested: Mapping[str, Any]) -> None: ...


async def open_registry(driver: Driver, clock: Clock) -> KernelRegistry | None:
    """With the pack that is installed in this database, else the bundled one. Migrates the database.

    None where this installation has not even the operations; the log says so.
    """
    migrate(driver)
    try:
        return await KernelRegistry.open(PackStore(DriverShelf(driver, manifest.NAME)), clock=clock)
    except KernelError:
        return None


def accelerator(registry: KernelRegistry | None) -> HnswKernels | None:
    """What searches and links vectors; None where numpy does it, which is faster at that than the kernels' twins."""
    if registry is None or registry.memory is None or not registry.library.modules("hnsw"):
        return None
    codecs = ("float32", "int8", "bit1") if registry.library.modules("code") else ("float32",)
    return HnswKernels(registry.memory, registry.kernel, codecs)


class KernelStatistics:
    def __init__(self, policies: PolicyStore, registry: Registry):
        self.policies, self.registry = policies, registry
        self._saved = 0  # changes that are in the memory
        self._version = 0

    def load(self) -> bool:
        """Gives the registry what is kept for it. False where there is nothing that it can use."""
        entries = [entry for entry in self.policies.list(TYPE) if self._own(entry)]
        for entry in entries:
            try:
                self.registry.restore(entry.parameters.get("statistics", {}))
                self.registry.retest(entry.parameters.get("tested", {}))
            except KernelError as error:
                log.warning("the latencies of kernels in policy %s are not used: %s", entry.id, error)
                continue
            break
        else:
            return False
        self._version = max(_version(entry) for entry in entries)
        return True

    def save(self) -> bool:
        """Writes them if a decision was made since they were written or loaded. Durable with the next flush. StorageError."""
        memory, changes = self.policies.memory, self.registry.changes
        if changes == self._saved or not memory.writable or memory.busy:
            return False
        parameters = {
            "pack": self.registry.pack,
            "engine": self.registry.engine,
            "version": self._version + 1,
            "statistics": self.registry.statistics(),
            "tested": self.registry.tested(),
        }
        with memory.transaction():
            self.policies.put(PolicyEntry(TYPE, parameters, "instant_loop", confidence=1.0))
            entries = [entry for entry in self.policies.list(TYPE) if entry.source != "bundled"]
            own, others = ([entry.id for entry in entries if self._own(entry) is mine] for mine in (True, False))
            memory.remove(own[VERSIONS:] + others[OTHERS:])
        self._saved, self._version = changes, self._version + 1
        return True

    def _own(self, entry: PolicyEntry) -> bool:
        return (entry.parameters.get("pack"), entry.parameters.get("engine")) == (self.registry.pack, self.registry.engine)


def _version(entry: PolicyEntry) -> int:
    version = entry.parameters.get("version")
    return version if type(version) is int else 0
