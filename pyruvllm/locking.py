"""What a locked memory is: nothing that could answer, and nothing that could tell what was remembered."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from .config import Clock, Config
from .errors import ConfigError, LockedError, StorageError
from .kernels.registry import KernelRegistry
from .memory.fulltext import term_of
from .memory.unified import UnifiedMemory
from .memory.words import term
from .storage import Protection, Secret, is_sealed_file, open_sealed_file

# of what an open memory consists
PARTS = ("memory", "kernels", "documents", "sessions", "policies", "patterns", "witness", "requests", "forgetting", "router")
Reopen = Callable[[Secret], Awaitable[tuple[UnifiedMemory, KernelRegistry | None]]]


class Locked:
    """Stands where a part of a locked memory was."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise LockedError(f"the memory {self._name!r} is locked; await unlock() opens it")


async def unsealed(image: bytes, passphrase: str | None) -> bytes:
    """A file that was exported, plain: it is sealed exactly if it starts so."""
    if passphrase is not None:
        return await open_sealed_file(image, passphrase)
    if is_sealed_file(image):
        raise LockedError("this file is sealed: give its passphrase; everything is as it was")
    return image


def forget_words() -> None:
    """Drops what the package remembers of texts outside of any memory, and what nobody holds any more."""
    for cached in (term, term_of):
        cached.cache_clear()
    gc.collect()


class IdleLock:
    """Locks when nothing was asked for a while. ``touch`` says that something was."""

    def __init__(self, minutes: float, lock: Callable[[], Awaitable[Any]], clock: Clock):
        if not minutes > 0:
            raise ConfigError(f"lock_after_minutes is {minutes!r}; a number above 0 would be right, or None for never")
        self._limit, self._lock, self._clock = minutes * 60_000, lock, clock
        self._last = clock.elapsed_ms()
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._watch())

    def touch(self) -> None:
        self._last = self._clock.elapsed_ms()

    def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _watch(self) -> None:
        while (left := self._last + self._limit - self._clock.elapsed_ms()) > 0:
            await asyncio.sleep(left / 1000)
        await self._lock()


class Lockable:
    """What ``RuvLLM`` can do about who opens its memory."""

    config: Config
    memory: UnifiedMemory
    _reopen: Reopen | None
    _idle: IdleLock | None = None
    _attach: Callable[[UnifiedMemory, KernelRegistry | None], None]
    flush: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]

    @property
    def protection(self) -> Protection | None:
        """What opens this memory; None if it is not sealed."""
        return self.memory.driver.protection

    async def protect(self, *, passphrase: str | None = None, device_key: bool = False) -> None:
        """Seals this memory: on return it lies encrypted, and opens with the passphrase, this device's key, or either."""
        await self.flush()
        await self.memory.driver.take_over()
        await self.memory.driver.protect(Secret(passphrase, device_key))
        self.lock_after(self.config.lock_after_minutes)

    async def unprotect(self) -> None:
        """Stores this memory plain again."""
        await self.flush()
        await self.memory.driver.take_over()
        await self.memory.driver.unprotect()
        self.lock_after(None)

    async def change_keys(self, *, current: str | None = None, passphrase: str | None = None, device_key: bool = False) -> None:
        """From now on the passphrase, this device's key, or either opens this memory, and nothing else does; no data is rewritten.

        ``current`` is the passphrase so far, None where this device's key opens it. PassphraseError, LockedError: nothing was changed.
        """
        await self.memory.driver.take_over()
        await self.memory.driver.rekey(Secret(current), Secret(passphrase, device_key))

    @property
    def locked(self) -> bool:
        return isinstance(self.memory, Locked)

    async def lock(self) -> None:
        """Saves, closes and lets go of everything: keys, indexes, caches, texts. Every request then raises LockedError until ``unlock``.

        StorageError for a memory that is not sealed, and where saving fails: then it stays open.
        """
        if self.locked:
            return
        if self._reopen is None or self.protection is None:
            raise StorageError(f"{self.memory.driver.name!r} is not sealed, so there is no lock: protect it first")
        name = self.memory.driver.name
        await self.flush()
        await self.close()
        for part in PARTS:
            setattr(self, part, Locked(name))
        await asyncio.sleep(0)  # the step that goes on from a task that was ended has its error, and that the task's frames
        forget_words()

    async def unlock(self, passphrase: str | None = None) -> None:
        """Opens a locked memory with its passphrase, or without one by this device's key. PassphraseError, LockedError."""
        if self.locked:
            assert self._reopen is not None
            self._attach(*await self._reopen(Secret(passphrase)))

    def lock_after(self, minutes: float | None) -> None:
        """Locks this memory when nothing was asked of it, remembered or touched for so long; None: never by itself."""
        if self._idle is not None:
            self._idle.stop()
        sealed = minutes is not None and not self.locked and self.protection is not None
        self._idle = IdleLock(minutes, self.lock, self.config.clock) if sealed else None  # type: ignore[arg-type]

    def touch(self) -> None:
        """Says that somebody is there."""
        if self._idle is not None:
            self._idle.touch()
