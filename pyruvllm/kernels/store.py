"""Installed packs of kernels: the current one, the one before it, and below them the one that this installation carries.

What is stored is verified anew whenever it is read, what is bundled once for the same bytes. A pack that is refused never stops anything:
the one below it serves.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import PackError, StorageError
from . import keys, manifest, pack
from .pack import Pack
from .shelf import CURRENT, PREVIOUS, Files, Shelf

log = logging.getLogger("pyruvllm")

BUNDLED = "bundled"
_SOUND: dict[tuple, Pack] = {}  # the bundled pack that was verified last, by all that it was verified with

# Tries the kernels of a verified pack in this engine: gives what is wrong, or raises.
SelfTest = Callable[[Pack], Sequence[str] | None | Awaitable[Sequence[str] | None]]


@dataclass(frozen=True)
class Loaded:
    """What serves, and what does not. ``refused`` is what a witness entry records."""

    pack: Pack | None  # None: no pack can be used, the twins in numpy serve
    place: str | None  # "current", "previous" or "bundled"
    faults: tuple[str, ...]  # of the bundled pack, below which there is none: kernels that are wrong here, whose twins serve
    refused: tuple[tuple[str, str], ...]  # (place, why)


class PackStore:
    """trusted: gives public keys by id; bundled: gives the files that this installation carries. Both may raise PackError."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        name: str = manifest.NAME,
        trusted: Callable[[], Mapping[str, bytes]] = keys.pinned,
        bundled: Callable[[], Files] = pack.bundled,
        limits: pack.Limits = pack.LIMITS,
    ) -> None:
        self._shelf = shelf
        self._name = name
        self._trusted = trusted
        self._bundled = bundled
        self._limits = limits
        self._changing = asyncio.Lock()

    async def install(self, files: Files, self_test: SelfTest) -> Pack:
        """Verifies a pack, tries it, and makes it the current one, durably; the current one becomes the previous one.

        PackError where it is older than what is here, is refused or is wrong in this engine: then nothing changed. StorageError where
        it could not be written; as for any write, QuotaError leaves it in place until a later flush makes it durable.
        """
        async with self._changing:
            current = await self._tried(CURRENT)
            here = (current, await self._tried(PREVIOUS), await self._tried(BUNDLED))
            below = [each.manifest.version for each in here if isinstance(each, Pack)]
            new = await self._verified(files, newest=max(below, default=0))
            if isinstance(current, Pack) and current.files == new.files:
                return current
            faults = await _faults(new, self_test)
            if faults:
                serving = f"version {max(below)} still serves" if below else "what served before still serves"
                raise PackError(f"version {new.manifest.version} of {self._name} failed its self-test, {serving}: {'; '.join(faults[:3])}")
            # Of a current one that is damaged, or the same but for its signature, nothing is to be kept: the previous one stays.
            keep = isinstance(current, Pack) and current.files[manifest.FILE] != new.files[manifest.FILE]
            self._shelf.write({CURRENT: new.files, **({PREVIOUS: current.files} if keep else {})})
            await self._shelf.flush()
            return new

    async def load(self, self_test: SelfTest) -> Loaded:
        """The newest pack that is sound and right in this engine. Changes nothing and never raises."""
        refused: list[tuple[str, str]] = []

        def refuse(place: str, why: str) -> None:
            log.warning("kernels: the %s pack is not used: %s", place, why)
            refused.append((place, why))

        bundled = await self._tried(BUNDLED)
        least = bundled.manifest.version if isinstance(bundled, Pack) else 0
        for place in (CURRENT, PREVIOUS):
            found = await self._tried(place)
            if isinstance(found, str):
                refuse(place, found)
            elif found and found.manifest.version < least:
                log.info("kernels: the %s pack, version %d, is older than the bundled one", place, found.manifest.version)
            elif found:
                faults = await _faults(found, self_test)
                if not faults:
                    return Loaded(found, place, (), tuple(refused))
                refuse(place, f"it failed its self-test: {'; '.join(faults[:3])}")
        if not isinstance(bundled, Pack):
            refuse(BUNDLED, bundled or "there is none")
            return Loaded(None, None, (), tuple(refused))
        faults = await _faults(bundled, self_test)
        for fault in faults:
            log.warning("kernels: %s", fault)
        return Loaded(bundled, BUNDLED, tuple(faults), tuple(refused))

    async def _tried(self, place: str) -> Pack | str | None:
        """The pack there, or why it is refused; None where there is none."""
        try:
            if place == BUNDLED:
                return await self._carried(self._bundled())
            files = self._shelf.read(place)
            return await self._verified(files) if files else None
        except (PackError, StorageError) as error:
            return str(error)

    async def _carried(self, files: Files) -> Pack | None:
        """The bundled pack. One that was found sound is not verified again: a memory that is unlocked, and the next one, begin sooner."""
        if not files:
            return None
        asked = (frozenset(files.items()), frozenset(self._trusted().items()), self._limits, self._name)
        if asked not in _SOUND:
            found = await self._verified(files)
            _SOUND.clear()
            _SOUND[asked] = found
        return _SOUND[asked]

    async def _verified(self, files: Files, newest: int = 0) -> Pack:
        return await pack.verify(files, keys=self._trusted(), newest=newest, limits=self._limits, name=self._name)


async def _faults(tried: Pack, self_test: SelfTest) -> list[str]:
    try:
        found = self_test(tried)
        return list((await found if inspect.isawaitable(found) else found) or ())
    except Exception as error:  # whatever it is, it says that this pack cannot be used here
        return [f"{type(error).__name__}: {error}"]
