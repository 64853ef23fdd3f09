"""The writer's lock of a database file: one holder among all processes and all opens of one process."""

import sqlite3
from pathlib import Path


class WriterLock:
    """An exclusive transaction on an empty SQLite file beside the database.

    SQLite knows how to lock on every system, between processes and within one, and the system gives the lock back when the
    process dies.
    """

    def __init__(self, database: Path):
        self._path = lock_path(database)
        self._connection: sqlite3.Connection | None = None

    def acquire(self) -> bool:
        """False if somebody else holds it, or where nothing can be written."""
        connection = None
        try:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            if connection:
                connection.close()
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


def lock_path(database: Path) -> Path:
    return database.with_name(database.name + ".lock")
