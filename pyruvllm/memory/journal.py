"""Which records each commit changed, so that the indexes of a tab that follows take in these and no others.

A row per commit, in its transaction, so that it is there exactly if the commit is. Only the latest are kept: who missed more, or finds
another memory in the place of the one it knew, makes its indexes anew.
"""

import json
from collections.abc import Iterable

from ..config import Clock
from ..storage.driver import Driver
from .collection import Change

KEPT = 256  # commits
LISTED = 1000  # numbers in a row at most; of a collection with more, all is read again

UNSAID = ""  # stands, as no collection's name, for what was said and is to be held nowhere any more

Changed = dict[str, list[int] | None]  # numbers by collection; None: any


class Journal:
    """Over the table changes. Callers open the transactions."""

    def __init__(self, driver: Driver, clock: Clock):
        self._driver, self._clock = driver, clock
        self._seen: tuple[int, str] | None = None  # ordinal and token of the last row that the indexes have taken in

    def note(self, changes: Iterable[Change]) -> None:
        """What an open transaction changes."""
        numbers: dict[str, dict[int, None]] = {}
        for change in changes:
            numbers.setdefault(change.collection, {})[change.number] = None
        if numbers:
            self._write({name: list(found) if len(found) <= LISTED else None for name, found in numbers.items()})

    def note_all(self, collection: str) -> None:
        """The same of a whole collection."""
        self._write({collection: None})

    def _write(self, changed: Changed) -> None:
        if not self._driver.shared:
            return
        last = self._last()
        ordinal = last[0] + 1 if last else 1
        self._driver.execute("INSERT INTO changes VALUES (?, ?, ?)", [ordinal, self._clock.new_id(), json.dumps(changed)])
        self._driver.execute("DELETE FROM changes WHERE ordinal <= ?", [ordinal - KEPT])

    def mark(self) -> None:
        """The indexes are as the tables."""
        self._seen = self._last()

    def since(self) -> Changed | None:
        """What changed since ``mark``; None where that cannot be told."""
        last = self._last()
        if last == self._seen:
            return {}
        if self._seen is None:
            return None
        rows = self._driver.query("SELECT ordinal, token, records FROM changes WHERE ordinal >= ? ORDER BY ordinal", [self._seen[0]])
        if not rows or rows[0][:2] != self._seen:
            return None
        found: dict[str, dict[int, None] | None] = {}
        for _, _, records in rows[1:]:
            for name, numbers in json.loads(str(records)).items():
                known = found.setdefault(name, {})
                if numbers is None or known is None:
                    found[name] = None
                else:
                    known.update(dict.fromkeys(numbers))
        return {name: None if numbers is None else list(numbers) for name, numbers in found.items()}

    def _last(self) -> tuple[int, str] | None:
        rows = self._driver.query("SELECT ordinal, token FROM changes ORDER BY ordinal DESC LIMIT 1")
        return rows[0] if rows else None  # type: ignore[return-value]
