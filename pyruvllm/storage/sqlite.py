"""The native driver: the standard library's sqlite3 over one file.

In WAL mode with full synchronisation, so a commit is on disk when it returns, readers never wait for the writer, and a read-only
open keeps seeing the moment at which it opened, as its indexes in memory do.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptError, QuotaError, ReadOnlyError, StorageError
from .driver import Blobs, Driver, Row, Value
from .identity import claim, number
from .lock import WriterLock, lock_path
from .transaction import Transactions

IN_MEMORY = ":memory:"
PAGE_SIZE = 4096  # bytes; the browser's driver has the same, so that a file can go either way
FILE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
KINDS = {
    sqlite3.SQLITE_READONLY: ReadOnlyError,
    sqlite3.SQLITE_CORRUPT: CorruptError,
    sqlite3.SQLITE_NOTADB: CorruptError,
    sqlite3.SQLITE_FULL: QuotaError,
}


class SqliteDriver:
    """An open database; see ``Driver``. Use ``SqliteDriver.open``."""

    def __init__(self, name: str, connection: sqlite3.Connection, *, writable: bool, lock: WriterLock | None = None):
        self.name = name
        self.writable = writable
        self._connection = connection
        self._lock = lock
        self._transactions = Transactions(self._connection_execute)

    @classmethod
    async def open(cls, name: str, *, readonly: bool = False) -> "SqliteDriver":
        """A bare name lives in the user's data folder, a path stays a path, ":memory:" lasts as long as the driver."""
        if name == IN_MEMORY:
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
            return cls._opened(name, path, lock if writer else None)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(cls, name: str, path: Path, lock: WriterLock | None) -> "SqliteDriver":
        with errors(name):
            connection = sqlite3.connect(f"{path.as_uri()}?mode={'rwc' if lock else 'ro'}", uri=True, isolation_level=None)
        try:
            driver = cls(name, connection, writable=lock is not None, lock=lock)
            claim(driver)
            if lock:
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = 1", "secure_delete = 1"):
                    driver.query(f"PRAGMA {pragma}")
            elif driver.query("PRAGMA journal_mode") == [("wal",)]:
                driver.query("BEGIN")  # for as long as the driver is open: what it sees is the moment of its first read, which is next
                driver.query("SELECT count(*) FROM sqlite_schema")
            return driver
        except BaseException:
            connection.close()
            raise

    @property
    def durable_ms(self) -> float:
        return self._transactions.commit_ms

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
        """Nothing is left to do: each commit was durable when it returned."""
        self.size()  # a closed driver says so

    async def scrub(self) -> None:
        if self.writable:
            self.query("PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self) -> int:
        return number(self, "PRAGMA page_count") * number(self, "PRAGMA page_size")

    async def export(self) -> bytes:
        with errors(self.name):
            return rollback_mode(self._connection.serialize())

    async def replace(self, image: bytes, check: Callable[[Driver], None]) -> None:
        if not self.writable:
            raise ReadOnlyError(f"{self.name!r} is open read-only here")
        if self._transactions.open:
            raise StorageError("a database cannot be replaced inside a transaction")
        with candidate(f"the file to be put in the place of {self.name!r}", image) as driver:
            claim(driver)
            check(driver)
            with errors(self.name):
                driver._connection.backup(self._connection)  # one transaction, durable like any other

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Never called: nobody can take this writer's lock."""

    def on_released(self, callback: Callable[[], None]) -> None:
        """Never called: SQLite does not tell when another process lets go of a file."""

    async def close(self) -> None:
        self._connection.close()
        if self._lock:
            self._lock.release()

    def _connection_execute(self, sql: str, parameters: Sequence[Value] = ()) -> sqlite3.Cursor:
        with errors(self.name):
            return self._connection.execute(sql, parameters)


async def delete(name: str) -> None:
    """Removes a database and what belongs to it. ReadOnlyError while somebody has it open for writing."""
    path = database_path(name)
    lock = WriterLock(path)
    if path.exists() and not lock.acquire():
        raise ReadOnlyError(f"{path} was not deleted: it is open for writing elsewhere")
    try:
        for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")), lock_path(path)):
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


def rollback_mode(image: bytes) -> bytes:
    """The image marked as one that needs no write-ahead log beside it (read and write version 1): a single file."""
    return image[:18] + b"\x01\x01" + image[20:]


@contextmanager
def errors(name: str) -> Iterator[None]:
    """Whatever SQLite, its binding or the system raises inside becomes one of the StorageErrors."""
    try:
        yield
    except sqlite3.Error as error:
        kind = KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, StorageError)
        raise kind(f"{name!r}: {error}") from error
    except (sqlite3.Warning, OSError, OverflowError, UnicodeError) as error:
        raise StorageError(f"{name!r}: {error}") from error
