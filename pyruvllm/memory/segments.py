"""Saved indexes in SQL: segments, and the state of the rows they were made of. A saved index that does not fit its rows is never used."""

import logging
from collections.abc import Callable

import numpy as np

from hnsw_pure import HNSWError

from ..storage.driver import Driver
from .collection import Collection
from .records import Records

log = logging.getLogger("pyruvllm.memory")


class SavedIndexes:
    """Over the tables index_states and index_segments. Callers open the transactions."""

    def __init__(self, driver: Driver, records: Records):
        self._driver, self._records = driver, records

    def names(self) -> set[str]:
        return {str(name) for (name,) in self._driver.query("SELECT collection FROM index_states")}

    def write(self, collection: Collection) -> None:
        """What changed of the index since it was saved last, and which rows it stands for."""
        written, removed = collection.index.unsaved()
        if not written and not removed:
            return
        name = collection.name
        self._driver.executemany(
            "INSERT OR REPLACE INTO index_segments (collection, name, content) VALUES (?, ?, ?)",
            [(name, segment, content) for segment, content in written.items()],
        )
        self._driver.executemany("DELETE FROM index_segments WHERE collection = ? AND name = ?", [(name, segment) for segment in removed])
        self._driver.execute(
            "INSERT OR REPLACE INTO index_states (collection, space, count, checksum) VALUES (?, ?, ?, ?)",
            [name, collection.space, collection.vectors, collection.checksum],
        )

    def drop(self, name: str) -> None:
        self._driver.execute("DELETE FROM index_states WHERE collection = ?", [name])
        self._driver.execute("DELETE FROM index_segments WHERE collection = ?", [name])

    def load(self, collection: Collection, fetch: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Takes the saved index if there is one and it was made of just these rows. Says in the log why not."""
        name = collection.name
        state = self._driver.query("SELECT space, count, checksum FROM index_states WHERE collection = ?", [name])
        if not state:
            return False
        expected = (collection.space, collection.vectors, collection.checksum)
        if state[0] != expected:
            log.warning("the saved index of %r is of %s, its rows are %s: it is built anew", name, state[0], expected)
            return False
        segments = self._driver.query("SELECT name, content FROM index_segments WHERE collection = ?", [name])
        try:
            collection.index.restore({str(segment): content for segment, content in segments}, fetch)  # type: ignore[misc]
        except HNSWError as error:
            log.warning("the saved index of %r is damaged (%s): it is built anew", name, error)
            return False
        if len(collection.index) != collection.vectors:
            log.warning("the saved index of %r has %d of %d vectors: it is built anew", name, len(collection.index), collection.vectors)
            return False
        return True
