"""Model files in the user's cache folder, and requests by the standard library."""

import asyncio
import errno
import os
import socket
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import HostError, OfflineError, QuotaError, StorageError, TruncatedError, UnreachableError

PART = 1 << 18  # bytes of an answer that are handed on at once
TIMEOUT = 30  # seconds without a byte


class FolderFiles:
    kind = "folder"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def sizes(self) -> dict[str, int]:
        if not self.folder.is_dir():
            return {}
        return {path.name: path.stat().st_size for path in self.folder.iterdir() if path.is_file() and ".note" not in path.name}

    async def open(self, name: str, *, write: bool = False) -> "FolderFile":
        path = self.folder / name
        try:
            if write:
                self.folder.mkdir(parents=True, exist_ok=True)
                return FolderFile(_locked(path.open("ab+"), path))
            return FolderFile(path.open("rb"))
        except OSError as error:
            raise StorageError(f"the model file {path} cannot be opened: {error.strerror}") from error

    async def delete(self, name: str) -> None:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"the model file {self.folder / name} cannot be deleted: {error.strerror}") from error

    async def note(self, name: str) -> bytes | None:
        path = self.folder / f"{name}.note"
        return path.read_bytes() if path.is_file() else None

    async def keep(self, name: str, data: bytes | None) -> None:
        path = self.folder / f"{name}.note"
        if data is None:
            return path.unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".note.part", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)


class FolderFile:
    """A file of this machine, opened."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    async def read_into(self, offset: int, room: np.ndarray) -> None:
        await asyncio.to_thread(self._read_into, offset, room)

    def _read_into(self, offset: int, room: np.ndarray) -> None:
        self._file.seek(offset)
        if self._file.readinto(room.data) != room.size:  # type: ignore[attr-defined]
            raise StorageError(f"{self._file.name} ends at byte {self.size}, and {offset + room.size} are wanted")

    async def append(self, data: bytes) -> None:
        before = self.size
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self._file.truncate(before)
            kind = QuotaError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"{self._file.name} cannot be written: {error.strerror}; {before} bytes are kept") from error

    async def flush(self) -> None:
        await asyncio.to_thread(os.fsync, self._file.fileno())

    async def close(self) -> None:
        self._file.close()


def _locked(file: BinaryIO, path: Path) -> BinaryIO:
    """The file for this process alone, where the system has locks."""
    try:
        import fcntl
    except ImportError:
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StorageError(f"another process works on the model file {path}: wait until it is done") from None
    return file


async def request(url: str, headers: dict[str, str]) -> "NativeAnswer":
    """See ``Host.request``."""
    try:
        return NativeAnswer(url, await asyncio.to_thread(_opened, url, headers))
    except ValueError as error:
        raise HostError(f"{url} is no address that can be asked: {error}") from error
    except urllib.error.URLError as error:
        raise _unreachable(url, error.reason) from error
    except OSError as error:
        raise _unreachable(url, error) from error


def _opened(url: str, headers: dict[str, str]) -> Any:
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as answer:  # which is an answer too
        return answer


def _unreachable(url: str, reason: object) -> UnreachableError | OfflineError:
    host = urllib.parse.urlsplit(url).netloc
    if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_AGAIN:
        return OfflineError(f"this device is offline, or has no name server: {host} cannot be found")
    return UnreachableError(f"{host} does not answer: {reason}")


class NativeAnswer:
    def __init__(self, url: str, response: Any) -> None:
        self._url, self._response = url, response
        self.status: int = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def next(self) -> bytes:
        try:
            return await asyncio.to_thread(self._response.read1, PART)
        except (OSError, ValueError) as error:
            raise TruncatedError(f"{self._url} stopped in the middle: {error}") from error

    async def close(self) -> None:
        self._response.close()
