"""Model files that are kept on this device: downloaded with resume and a check of their sha256, listed, opened, deleted.

Of each there is a file and a note. The note is written first, so a file without one is a leftover. Hashes of files whose sha256 nobody
knew are pinned to their address when they first came, and outlive the file: trust on first use.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..config import Clock
from ..errors import HashError, ModelError, NotFoundError, OfflineError, TruncatedError, UnreachableError
from ..host import Files, Host, OpenFile
from .source import ByteSource
from .transfer import Transfer

SLICE = 4 << 20  # bytes that are read or hashed at once
FLUSHED = 32 << 20  # bytes between two flushes of a download
TRIES = 4  # connections in a row that bring nothing
PINS = "pins"
MAGIC = b"GGUF"

Progress = Callable[[int, int], None]  # (done, total) bytes; total 0: not known


@dataclass(frozen=True)
class StoredModel:
    """A model file of this device, whole or a part of it.

    trust: "known" (its sha256 was known before it came), "first use" (pinned when it first came) or "file" (given by the user).
    """

    id: str
    name: str
    size: int  # bytes, of the whole; 0: not known yet
    done: int = 0  # bytes that are here
    sha256: str | None = None  # hex, of the whole file; None while it is not
    trust: str = "first use"
    url: str | None = None
    entry: str | None = None  # id of its catalogue entry
    etag: str | None = None
    modified: str | None = None
    added_at: int = 0  # UTC milliseconds

    @property
    def complete(self) -> bool:
        return self.sha256 is not None


class ModelStore:
    """pause_ms: waited before a broken connection is tried again; twice as long each time."""

    def __init__(self, files: Files, host: Host, clock: Clock | None = None, pause_ms: float = 1000) -> None:
        self._files, self._host, self._clock, self._pause_ms = files, host, clock or Clock(), pause_ms
        self.kind = files.kind

    async def list(self) -> list[StoredModel]:
        """The newest first."""
        found = []
        for name, size in (await self._files.sizes()).items():
            note = await self._note(name.removesuffix(".gguf"))
            if note is None:
                await self._files.delete(name)
            else:
                found.append(replace(note, done=size))
        return sorted(found, key=lambda model: (-model.added_at, model.id))

    async def get(self, id: str) -> StoredModel:
        """By its id, its sha256 or the id of its catalogue entry. NotFoundError."""
        for model in await self.list():
            if id in (model.id, model.sha256, model.entry):
                return model
        raise NotFoundError(f"no model {id!r} is kept on this device")

    async def open(self, id: str) -> OpenFile:
        """A whole one, to read. NotFoundError; ModelError where it is not all here."""
        model = await self.get(id)
        if not model.complete or model.done != model.size:
            raise ModelError(f"of {model.name} {model.done} of {model.size} bytes are here: download the rest of it, or delete it")
        return await self._files.open(f"{model.id}.gguf")

    async def delete(self, id: str) -> None:
        """What is here of it. NotFoundError; StorageError while it is in use."""
        model = await self.get(id)
        await self._files.delete(f"{model.id}.gguf")
        await self._files.keep(model.id, None)

    async def download(
        self,
        url: str,
        *,
        name: str | None = None,
        sha256: str | None = None,
        entry: str | None = None,
        restart: bool = False,
        progress: Progress | None = None,
    ) -> StoredModel:
        """A file of the network, whole and checked. One that is here already is not fetched again.

        Cancelled, or failed, what came is kept, and the next call goes on from there; restart: begins anew. Raises the DownloadError
        family, QuotaError, and ModelError for what is no GGUF file.
        """
        id = "m-" + hashlib.sha256(url.encode()).hexdigest()[:24]
        model = await self._note(id)
        if model is None or restart or (model.complete and sha256 not in (None, model.sha256)):
            await self._files.delete(f"{id}.gguf")
            last = name or url.rpartition("/")[2].partition("?")[0] or url
            model = StoredModel(id, last, 0, url=url, entry=entry, added_at=self._clock.now_ms())
            await self._keep(model)
        elif model.complete and (await self._files.sizes()).get(f"{id}.gguf") == model.size:
            return replace(model, done=model.size)
        pinned = (await self._pins()).get(url)
        file = await self._files.open(f"{id}.gguf", write=True)
        try:
            digest = await self._fetch(model, file, progress or (lambda done, total: None))
            await file.flush()
            size = file.size
        finally:
            await file.close()
        if (expected := sha256 or pinned) and digest != expected:
            await self._files.delete(f"{id}.gguf")
            await self._files.keep(id, None)
            first = "" if sha256 else ", the one that came first from there"
            raise HashError(f"{model.name} has sha256 {digest}, not {expected}{first}; it was thrown away")
        return await self._complete(replace(model, size=size, done=size, sha256=digest, trust="known" if sha256 else "first use"))

    async def add(self, source: ByteSource, name: str, progress: Progress | None = None) -> StoredModel:
        """A copy of a file of the user's. QuotaError; ModelError for what is no GGUF file. Cancelled or failed, nothing of it is kept."""
        model = StoredModel(f"f-{self._clock.new_id()}", name, source.size, trust="file", added_at=self._clock.now_ms())
        await self._keep(model)
        try:
            file = await self._files.open(f"{model.id}.gguf", write=True)
            try:
                digest = await _hashed(source, source.size, progress, file)
                await file.flush()
            finally:
                await file.close()
            return await self._complete(replace(model, done=source.size, sha256=digest))
        except BaseException:
            await self._files.delete(f"{model.id}.gguf")
            await self._files.keep(model.id, None)
            raise

    async def _fetch(self, model: StoredModel, file: OpenFile, progress: Progress) -> str:
        """Brings what is missing of the file; hex sha256 of all of it."""
        hashed = hashlib.sha256()
        if file.size:
            await _hashed(file, file.size, None, into=hashed)
        transfer = Transfer(self._host.request, model.url or "", model.size or None, model.etag, model.modified)
        tries = TRIES
        while not (file.size and file.size == transfer.size):
            before = file.size
            try:
                await transfer.start(file.size)
                if not before:
                    model = replace(model, size=transfer.size or 0, etag=transfer.etag, modified=transfer.modified)
                    await self._keep(model)
                await self._receive(transfer, file, hashed, progress)
                if transfer.size is None:
                    break
            except (TruncatedError, UnreachableError, OfflineError) as error:
                tries = TRIES if file.size > before else tries - 1
                if not tries or isinstance(error, OfflineError) or not file.size:
                    kept = f"{file.size} bytes are kept, and the next try goes on from there" if file.size else "nothing came yet"
                    raise type(error)(f"{error}; {kept}") from error
                await asyncio.sleep(self._pause_ms * 2 ** (TRIES - tries) / 1000)
            finally:
                await transfer.close()
        return hashed.hexdigest()

    async def _receive(self, transfer: Transfer, file: OpenFile, hashed: Any, progress: Progress) -> None:
        flushed = file.size
        while part := await transfer.next():
            if not file.size and not part.startswith(MAGIC[: len(part)]):
                raise ModelError(f"{transfer.url} is no GGUF file: it begins with {part[:8]!r}")
            await file.append(part)
            hashed.update(part)
            progress(transfer.at, transfer.size or 0)
            if file.size - flushed > FLUSHED:
                await file.flush()
                flushed = file.size

    async def _complete(self, model: StoredModel) -> StoredModel:
        """Notes that a file is whole. One that is here twice is kept once."""
        for other in await self.list():
            if other.id != model.id and other.sha256 == model.sha256:
                await self._files.delete(f"{model.id}.gguf")
                await self._files.keep(model.id, None)
                if model.url and not other.url:
                    other = replace(other, url=model.url, entry=model.entry)
                    await self._keep(other)
                return other
        if model.url and model.sha256:
            await self._files.keep(PINS, json.dumps({**await self._pins(), model.url: model.sha256}).encode())
        await self._keep(model)
        return model

    async def _pins(self) -> dict[str, str]:
        return json.loads(await self._files.note(PINS) or b"{}")

    async def _note(self, id: str) -> StoredModel | None:
        data = await self._files.note(id)
        try:
            return StoredModel(**json.loads(data)) if data else None
        except (ValueError, TypeError):  # of another version: the file is fetched anew
            return None

    async def _keep(self, model: StoredModel) -> None:
        await self._files.keep(model.id, json.dumps({**asdict(model), "done": 0}).encode())


async def _hashed(source: ByteSource, size: int, progress: Progress | None, copy: OpenFile | None = None, into: Any = None) -> str:
    """Hex sha256 of a source, read in slices; copy: a file it goes to as well."""
    hashed, room = into or hashlib.sha256(), np.empty(min(SLICE, max(size, 1)), np.uint8)
    for start in range(0, size, SLICE):
        part = room[: min(SLICE, size - start)]
        await source.read_into(start, part)
        if not start and bytes(part[:4]) != MAGIC:
            raise ModelError(f"this is no GGUF file: it begins with {bytes(part[:8])!r}")
        hashed.update(part)
        if copy is not None:
            await copy.append(part.tobytes())
        if progress is not None:
            progress(start + part.size, size)
        await asyncio.sleep(0)
    return hashed.hexdigest()


async def open_store(host: Host, clock: Clock | None = None) -> ModelStore:
    """The store of this host. StorageError where it has none."""
    return ModelStore(await host.files(), host, clock)
