"""The native driver: the standard library's sqlite3 over one file.

In WAL mode with full synchronisation, so a commit is on disk when it returns, readers never wait for the writer, and a read-only
open keeps seeing the moment at which it opened, as its indexes in memory do. A sealed database (``sealedfile``) is in memory while it is
open, and on disk when ``flush`` returns.
"""

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptError, ReadOnlyError, StorageError
from .driver import Blobs, Driver, Role, Row, Value
from .failure import errors, rollback_mode
from .identity import claim, number
from .image import canonical
from .lock import WriterLock, lock_path
from .pagestore import is_sealed, require_alone, stored_protection
from .sealedfile import NEW, SealedFile, seal_new, unseal_new
from .secret import Protection, Secret
from .transaction import Transactions

IN_MEMORY = ":memory:"
PAGE_SIZE = 4096  # bytes; the browser's driver has the same, so that a file can go either way
FILE_SUFFIXES = (".db", ".sqlite", ".sqlite3")


class SqliteDriver:
    """An open database; see ``Driver``. Use ``SqliteDriver.open``."""

    def __init__(
        self, name: str, connection: sqlite3.Connection, *, writable: bool, path: Path | None = None, lock: WriterLock | None = None
    ):
        self.name = name
        self.writable = writable
        self._connection = connection
        self._path = path
        self._lock = lock
        self._sealed: SealedFile | None = None
        self._tidying: asyncio.Handle | None = None  # a step of keeping the file short that waits for its turn
        self._transactions = Transactions(self._connection_execute)

    @classmethod
    async def open(cls, name: str, *, readonly: bool = False, secret: Secret | None = None) -> "SqliteDriver":
        """A bare name lives in the user's data folder, a path stays a path, ":memory:" lasts as long as the driver."""
        secret = secret or Secret()
        if name == IN_MEMORY:
            if secret.given:
                raise StorageError(f"{name!r} is kept in memory only: there is nothing to seal")
            driver = cls(name, sqlite3.connect(IN_MEMORY, isolation_level=None), writable=True)
            claim(driver)
            return driver
        path = database_path(name)
        lock = WriterLock(path)
        writer = not readonly and lock.acquire()
        if not writer and not path.exists():
            why = "open it for writing to make it" if readonly else "and it cannot be made, since the place is not writable or in use"
            raise StorageError(f"there is no database at {path}: {why}")
        try:
            if not path.exists() and secret.given:
                with errors(name):
                    seal_new(path, new_image(), secret)
            return cls._opened(name, path, lock if writer else None, secret)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(cls, name: str, path: Path, lock: WriterLock | None, secret: Secret) -> "SqliteDriver":
        sealed = is_sealed(path)
        if secret.given and not sealed:
            raise StorageError(f"{name!r} is not sealed: open it without a passphrase or device key, then protect it; nothing was changed")
        driver = cls(name, sqlite3.connect(IN_MEMORY), writable=lock is not None, path=path, lock=lock)
        driver._attach_sealed(secret) if sealed else driver._attach_plain()
        return driver

    def _attach_plain(self) -> None:
        """Makes the file at the path, which is or becomes an ordinary SQLite file, the one that is open."""
        assert self._path is not None
        with errors(self.name):
            address = f"{self._path.as_uri()}?mode={'rwc' if self.writable else 'ro'}"
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None)
        try:
            claim(self)
            if self.writable:
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = 1", "secure_delete = 1"):
                    self.query(f"PRAGMA {pragma}")
            elif self.query("PRAGMA journal_mode") == [("wal",)]:
                self.query("BEGIN")  # for as long as the driver is open: what it sees is the moment of its first read, which is next
                self.query("SELECT count(*) FROM sqlite_schema")
        except BaseException:
            self._connection.close()
            raise

    def _attach_sealed(self, secret: Secret) -> None:
        """The same for a sealed file."""
        assert self._path is not None
        with errors(self.name):
            self._sealed = SealedFile(self.name, self._path, secret, writable=self.writable)
        self._connection = self._sealed.connection
        try:
            claim(self)
            for pragma in ("foreign_keys = 1", "secure_delete = 1", f"query_only = {int(not self.writable)}"):
                self.query(f"PRAGMA {pragma}")
        except BaseException:
            self._sealed.close()
            raise

    @property
    def protection(self) -> Protection | None:
        return self._sealed.protection if self._sealed else None

    @property
    def durable_ms(self) -> float:
        return self._sealed.commit_ms if self._sealed else self._transactions.commit_ms

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        return max(0, self._connection_execute(sql, parameters).rowcount)  # -1 for a statement that changes no rows

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        with self.transaction(), errors(self.name):
            return max(0, self._connection.executemany(sql, rows).rowcount)

    def query(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        cursor = self._connection_execute(sql, parameters)
        with errors(self.name):
            return cursor.fetchall()

    def blobs(self, sql: str, parameters: Sequence[Value] = ()) -> Blobs:
        rows: Any = self.query(sql, parameters)
        if not all(len(row) == 2 and isinstance(row[0], int) and isinstance(row[1], bytes) for row in rows):
            raise StorageError("blobs are read by a statement that selects an integer and a blob")
        contents = [row[1] for row in rows]
        numbers, sizes = np.fromiter((row[0] for row in rows), np.int64, len(rows)), np.fromiter(map(len, contents), np.int64, len(rows))
        return Blobs(numbers, sizes, b"".join(contents))

    def transaction(self) -> AbstractContextManager[None]:
        return self._transactions.level()

    async def flush(self) -> None:
        """A plain file has nothing left to do: each commit was durable when it returned."""
        self.size()  # a closed driver says so
        if self._sealed and self.writable:
            self._tidy()  # what the last flush left to do, where nobody gave the event loop a turn since
            with errors(self.name):
                self._sealed.commit()
            if self._sealed.untidy:
                self._tidying = asyncio.get_running_loop().call_soon(self._tidy)

    def _tidy(self) -> None:
        """A step of what no commit should wait for, after the acknowledgement; what fails here is tried again after the next one."""
        due, self._tidying = self._tidying, None
        if due is not None and self._sealed and not self._transactions.open:
            due.cancel()
            with suppress(StorageError), errors(self.name):
                self._sealed.tidy()

    async def scrub(self) -> None:
        if self._sealed and self.writable:
            with errors(self.name):
                self._sealed.scrub()
        elif self.writable:
            self.query("PRAGMA wal_checkpoint(TRUNCATE)")

    async def compact(self) -> None:
        self.execute("VACUUM")
        await self.scrub()

    def size(self) -> int:
        return number(self, "PRAGMA page_count") * number(self, "PRAGMA page_size")

    async def export(self) -> bytes:
        with errors(self.name):
            return canonical(self._connection.serialize())

    async def protect(self, secret: Secret) -> None:
        path = self._convertible()
        if self._sealed:
            raise StorageError(f"{self.name!r} is sealed already: change its passphrase instead")
        with errors(self.name):
            image = rollback_mode(self._connection.serialize())
            require_alone(self.name, self._connection)
            try:
                self._connection.close()
                seal_new(path, image, secret)
            except BaseException:
                self._attach_plain()
                raise
        self._attach_sealed(secret)

    async def unprotect(self) -> None:
        path = self._convertible()
        if not self._sealed:
            raise StorageError(f"{self.name!r} is not sealed")
        with errors(self.name):
            self._sealed.commit()
            self._sealed.require_alone()
            unseal_new(path, self._sealed.image())
        self._sealed.close()
        self._sealed = None
        self._attach_plain()

    async def rekey(self, current: Secret, new: Secret) -> None:
        self._convertible()
        if not self._sealed:
            raise StorageError(f"{self.name!r} is not sealed: there is no key to change")
        with errors(self.name):
            self._sealed.rekey(current, new)

    def _convertible(self) -> Path:
        """The path, where sealing and unsealing can be done."""
        self.size()  # a closed driver says so
        if self._path is None:
            raise StorageError(f"{self.name!r} is kept in memory only: there is nothing to seal")
        if not self.writable:
            raise ReadOnlyError(f"{self.name!r} is open read-only here")
        if self._transactions.open:
            raise StorageError("a database cannot be sealed or unsealed inside a transaction")
        return self._path

    async def replace(self, image: bytes, check: Callable[[Driver], None]) -> None:
        if not self.writable:
            raise ReadOnlyError(f"{self.name!r} is open read-only here")
        if self._transactions.open:
            raise StorageError("a database cannot be replaced inside a transaction")
        with candidate(f"the file to be put in the place of {self.name!r}", image) as driver:
            claim(driver)
            check(driver)
            with errors(self.name):
                if self._sealed:
                    self._connection = self._sealed.replaced(rollback_mode(driver._connection.serialize()))
                    self._connection.execute("PRAGMA foreign_keys = 1").execute("PRAGMA secure_delete = 1")
                else:
                    driver._connection.backup(self._connection)  # one transaction, durable like any other

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Never called: nobody can take this writer's lock."""

    @property
    def role(self) -> Role:
        return "writer" if self.writable else "reader"

    @property
    def shared(self) -> bool:
        return False

    def follow(self, told: Callable[[str, str], None]) -> None:
        """Never called: what is read here is of the moment at which it was opened."""

    def serve(self, perform: Callable[[str, str], Awaitable[str]]) -> None:
        """Never called."""

    async def call(self, id: str, request: str) -> str:
        raise ReadOnlyError(f"{self.name!r} is open read-only here, and natively nobody writes for others")

    async def take_over(self) -> None:
        if not self.writable:
            raise ReadOnlyError(f"{self.name!r} is open for writing elsewhere, or was opened read-only")

    async def close(self) -> None:
        try:
            if self._sealed:
                sealed, self._sealed = self._sealed, None
                with errors(self.name):
                    try:
                        if self.writable:
                            sealed.commit()
                    finally:
                        sealed.close()
        finally:
            self._connection.close()
            if self._lock:
                self._lock.release()

    def _connection_execute(self, sql: str, parameters: Sequence[Value] = ()) -> sqlite3.Cursor:
        with errors(self.name):
            return self._connection.execute(sql, parameters)


async def protection_of(name: str) -> Protection | None:
    """What opens the database of that name; None if it is plain or not there."""
    path = database_path(name)
    with errors(name):
        return stored_protection(name, path) if is_sealed(path) else None


async def delete(name: str) -> None:
    """Removes a database and what belongs to it. ReadOnlyError while somebody has it open for writing."""
    path = database_path(name)
    lock = WriterLock(path)
    if path.exists() and not lock.acquire():
        raise ReadOnlyError(f"{path} was not deleted: it is open for writing elsewhere")
    try:
        for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal", NEW)), lock_path(path)):
            with errors(name):
                file.unlink(missing_ok=True)
    finally:
        lock.release()


def database_path(name: str) -> Path:
    """The absolute path of a database: a bare name is a file in the user's data folder (XDG), which is made."""
    if not name.strip() or "\0" in name:
        raise StorageError(f"{name!r} cannot name a database: give a name such as 'notes', or a file's path")
    given = Path(name).expanduser()
    if len(given.parts) > 1 or given.suffix in FILE_SUFFIXES:
        path = given.absolute()
        if not path.parent.is_dir():
            raise StorageError(f"there is no folder {path.parent} to keep {path.name} in")
        return path
    folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pyruvllm"
    with errors(name):
        folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute() / f"{name}.db"


def new_image() -> bytes:
    """A SQLite file of one page without any table."""
    connection = sqlite3.connect(IN_MEMORY)
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    connection.execute("PRAGMA user_version = 0")
    image = connection.serialize()
    connection.close()
    return rollback_mode(image)


@contextmanager
def candidate(name: str, image: bytes) -> Iterator[SqliteDriver]:
    """A read-only driver over the bytes of a SQLite file, which is examined first: CorruptError if it is not sound."""
    if not image.startswith(b"SQLite format 3\0") or len(image) < 512:
        raise CorruptError(f"{name} is no SQLite file ({len(image)} bytes)")
    with tempfile.TemporaryDirectory(prefix="pyruvllm-") as folder:
        file = Path(folder, "candidate.db")
        with errors(name):
            file.write_bytes(rollback_mode(image))
        driver = SqliteDriver(name, sqlite3.connect(file, isolation_level=None), writable=False)
        try:
            [(verdict,)] = driver.query("PRAGMA integrity_check(1)")
            if verdict != "ok":
                raise CorruptError(f"{name} is damaged: {verdict!r}")
            if number(driver, "PRAGMA page_size") != PAGE_SIZE:  # SQLite copies only between files of one page size
                driver.execute(f"PRAGMA page_size = {PAGE_SIZE}")
                driver.execute("VACUUM")
            driver.execute("PRAGMA query_only = 1")
            yield driver
        finally:
            driver._connection.close()
