"""Saved indexes in SQL: segments, the state of the rows they were made of, and which rows changed since.

A commit notes what it changes and writes no segment: one vector is linked in some forty places, which lie in as many segments. They
are written together once enough has changed. A saved index that does not fit its rows is never used.
"""

import logging
from collections.abc import Iterable

from hnsw_pure import HNSWError

from ..storage.driver import Driver
from .collection import Change, Collection

log = logging.getLogger("pyruvllm.memory")

FOLDED_AT = 256  # changes that are worth writing segments for, or a share of the collection
FOLDED_SHARE = 64

NOTE = """INSERT INTO index_changes (collection, number, vectors, checksum) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET vectors = vectors + excluded.vectors, checksum = checksum + excluded.checksum"""


class SavedIndexes:
    """Over the tables index_states, index_segments and index_changes. Callers open the transactions."""

    def __init__(self, driver: Driver):
        self._driver = driver
        self.changes: dict[str, int] = {}  # noted since each collection's index was saved

    def names(self) -> set[str]:
        return {str(name) for (name,) in self._driver.query("SELECT collection FROM index_states")}

    def count_changes(self) -> None:
        """How many are noted, as the tables say."""
        self.changes = dict(self._driver.query("SELECT collection, count(*) FROM index_changes GROUP BY collection"))  # type: ignore[arg-type]

    def note(self, changes: Iterable[Change]) -> None:
        """What a commit does to collections whose index is saved."""
        rows = [(c.collection, c.number, c.vectors, c.checksum) for c in changes if c.vectors or c.checksum]
        self._driver.executemany(NOTE, rows)
        for row in rows:
            self.changes[row[0]] = self.changes.get(row[0], 0) + 1

    def foldable(self, collection: Collection) -> bool:
        """Whether segments should be written."""
        return self.changes.get(collection.name, 0) > max(FOLDED_AT, len(collection.index) // FOLDED_SHARE)

    def write(self, collection: Collection) -> None:
        """What changed of the index since it was saved last, and which rows it stands for; of an exact index nothing is kept."""
        name = collection.name
        if not collection.index.stored:
            self.drop(name)
        if collection.index.kind != "hnsw":
            return
        written, removed = collection.index.unsaved()
        self.changes.pop(name, None)
        self._driver.execute("DELETE FROM index_changes WHERE collection = ?", [name])
        self._driver.executemany(
            "INSERT OR REPLACE INTO index_segments (collection, name, content) VALUES (?, ?, ?)",
            [(name, segment, content) for segment, content in written.items()],
        )
        self._driver.executemany("DELETE FROM index_segments WHERE collection = ? AND name = ?", [(name, segment) for segment in removed])
        self._driver.execute(
            "INSERT OR REPLACE INTO index_states (collection, space, count, checksum, codec) VALUES (?, ?, ?, ?, ?)",
            [name, collection.space, collection.vectors, collection.checksum, collection.index.codec],
        )

    def drop(self, name: str) -> None:
        self.changes.pop(name, None)
        for table in ("index_states", "index_segments", "index_changes"):
            self._driver.execute(f"DELETE FROM {table} WHERE collection = ?", [name])

    def load(self, collection: Collection) -> list[int] | None:
        """Takes the saved index if there is one and it was made of just these rows. Says in the log why not.

        Returns the numbers that changed since; None where there is no index to be had.
        """
        name = collection.name
        state = self._driver.query("SELECT space, count, checksum, codec FROM index_states WHERE collection = ?", [name])
        if not state:
            return None
        noted = self._driver.query("SELECT number, vectors, checksum FROM index_changes WHERE collection = ?", [name])
        vectors, checksum = (sum(row[place] for row in noted) for place in (1, 2))  # type: ignore[misc]
        expected = (collection.space, collection.vectors - vectors, collection.checksum - checksum)
        if state[0][:3] != expected:
            log.warning("the saved index of %r is of %s, its rows are %s: it is built anew", name, state[0][:3], expected)
            return None
        segments = self._driver.query("SELECT name, content FROM index_segments WHERE collection = ?", [name])
        try:
            collection.index.restore(
                {str(segment): content for segment, content in segments},  # type: ignore[misc]
                str(state[0][3]),
                int(state[0][1]),  # type: ignore[arg-type]
            )
        except HNSWError as error:
            log.warning("the saved index of %r is damaged (%s): it is built anew", name, error)
            return None
        self.changes[name] = len(noted)
        return [int(row[0]) for row in noted]  # type: ignore[arg-type]
