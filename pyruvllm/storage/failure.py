"""What every native file of a database shares: errors by one name, and what a single file looks like."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CorruptError, QuotaError, ReadOnlyError, StorageError

KINDS = {
    sqlite3.SQLITE_READONLY: ReadOnlyError,
    sqlite3.SQLITE_CORRUPT: CorruptError,
    sqlite3.SQLITE_NOTADB: CorruptError,
    sqlite3.SQLITE_FULL: QuotaError,
}


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
