"""The file of a sealed memory, open: SQLite works on the unsealed pages in memory, and what it changed goes sealed to disk.

Sealing whole pages, and not the columns that hold what somebody wrote, hides what columns would show (words in the full-text tables, which
record links to which, sizes, names of things) and gives the same format and the same guarantee as in a browser. Its price: the whole
database is in memory while it is open, and a commit is durable at ``flush``.
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np

from ..errors import CorruptError, HostError, StorageError
from . import vfs
from .failure import errors, rollback_mode
from .identity import is_sealed_file
from .pagedfile import EXTENT, PAGE, PagedFile
from .pagestore import PageStore, write_new
from .sealing import Keys
from .secret import Protection, Secret

PRAGMAS = (
    *("cache_spill = 0", "locking_mode = exclusive", "journal_mode = memory", "temp_store = memory"),
    *("cache_size = -16384", "synchronous = 0"),
)
NEW = ".new"  # suffix of a file that is being made


class SealedFile:
    """``connection`` works on the pages in memory; ``commit`` makes durable what it changed."""

    def __init__(self, name: str, path: Path, secret: Secret, *, writable: bool):
        self.commit_ms = 0.0  # how long the last commit that wrote something took
        self._store, self._file = PageStore.open(name, path, secret, writable=writable)
        self._open()
        if not writable:
            self._store.close()  # it has all it will ever read

    def _open(self) -> None:
        try:
            self.connection, self._release = vfs.connect(self._file)
            self._compared = False
        except HostError:
            self.connection, self._release = sqlite3.connect(":memory:", isolation_level=None), lambda: None
            self.connection.deserialize(self._file.image())
            self._compared = True
        for pragma in PRAGMAS:
            self.connection.execute(f"PRAGMA {pragma}").fetchall()

    @property
    def protection(self) -> Protection:
        return self._store.keys.protection

    def commit(self) -> None:
        """On return all that the connection committed is on disk."""
        start = time.perf_counter()
        self._collect()
        if self._store.commit(self._file):
            self.commit_ms = (time.perf_counter() - start) * 1000

    @property
    def untidy(self) -> bool:
        """Whether there is something to do that no commit should wait for."""
        return self._store.untidy

    def tidy(self) -> None:
        """A step of it."""
        if self._store.untidy:
            self.commit()
            self._store.tidy(self._file)

    def scrub(self) -> None:
        """Commits, and folds the whole log, so that what was deleted or overwritten is in no record any more."""
        self.commit()
        while self._store.logged:
            self._store.fold(self._file)
        self._store.checkpoint()

    def rekey(self, current: Secret, new: Secret) -> None:
        self._store.rekey(current, new)
        self._store.checkpoint()  # the old keys lie in SQLite's log until then

    def require_alone(self) -> None:
        """Nobody's write-ahead log lies beside the file afterwards. ReadOnlyError while another process reads it."""
        self._store.require_alone()

    def replaced(self, image: bytes) -> sqlite3.Connection:
        """Puts another image in the place of everything, durably; returns the connection to it, which is the one from now on."""
        file = PagedFile(image)
        self._store.replace(file)
        self.connection.close()
        self._release()
        self._file.wipe()
        self._file = file
        self._open()
        return self.connection

    def image(self) -> bytes:
        """The plain SQLite file."""
        self._collect()
        return self._file.image()

    def close(self) -> None:
        """Does not commit. Memory that held pages is overwritten, as far as it is ours."""
        self.connection.close()
        self._release()
        self._store.close()
        self._file.wipe()

    def _collect(self) -> None:
        """Where SQLite's writes go unseen: finds the pages that changed by comparing."""
        if not self._compared:
            return
        image = self.connection.serialize()
        self._file.truncate(len(image))
        for start in range(0, len(image), EXTENT):
            new = np.frombuffer(image, np.uint8, min(EXTENT, len(image) - start), start).reshape(-1, PAGE)
            old = np.frombuffer(self._file.extent(start // EXTENT), np.uint8, new.size).reshape(-1, PAGE)
            for page in np.flatnonzero((new != old).any(axis=1)).tolist():
                self._file.write(start + page * PAGE, new[page].tobytes())
        self._file.size = len(image)


def seal_new(path: Path, image: bytes, secret: Secret) -> None:
    """A sealed file at ``path``, in the place of any other there: wholly or not at all."""
    made = new_path(path)
    write_new(made, PagedFile(image), Keys.made(secret))
    put_in_place(made, path)


def unseal_new(path: Path, image: bytes) -> None:
    """The same with the plain file."""
    made = new_path(path)
    with made.open("wb") as file:
        file.write(image)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(made, path)


async def sealed_file(image: bytes, secret: Secret) -> bytes:
    """See ``storage.sealed_file``."""

    def sealed() -> bytes:
        with tempfile.TemporaryDirectory(prefix="pyruvllm-") as folder, errors("the sealed file"):
            path = Path(folder, "sealed")
            write_new(path, PagedFile(image), Keys.made(secret))
            return path.read_bytes()

    return await asyncio.to_thread(sealed)


async def open_sealed_file(content: bytes, secret: Secret) -> bytes:
    """See ``storage.open_sealed_file``."""
    name = "the sealed file"

    def opened() -> bytes:
        with tempfile.TemporaryDirectory(prefix="pyruvllm-") as folder, errors(name):
            path = Path(folder, "sealed")
            if not is_sealed_file(content):
                kind = StorageError if content.startswith(b"SQLite format 3\0") else CorruptError
                raise kind(f"{name} is not a sealed memory ({len(content)} bytes)")
            path.write_bytes(rollback_mode(content))
            store, file = PageStore.open(name, path, secret, writable=False)
            store.close()
            image = file.image()
            file.wipe()
            return image

    return await asyncio.to_thread(opened)


def new_path(path: Path) -> Path:
    made = path.with_name(path.name + NEW)
    made.unlink(missing_ok=True)
    return made


def put_in_place(made: Path, path: Path) -> None:
    """Renames, durably, and overwrites what was there: a disk may still keep copies that no program can reach."""
    old = path.open("r+b") if path.exists() else None
    alone = old is not None and os.fstat(old.fileno()).st_nlink == 1
    try:
        os.replace(made, path)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        if old is not None and alone:
            for _ in range(0, os.fstat(old.fileno()).st_size, EXTENT):
                old.write(bytes(EXTENT))
            old.flush()
            os.fsync(old.fileno())
    except OSError as error:
        raise StorageError(f"{path} could not be replaced: {error}") from error
    finally:
        if old is not None:
            old.close()
