"""Where installed packs lie: two places, the current one and the one before it. What lies there is not trusted."""

from collections.abc import Mapping
from typing import Protocol

from ..storage import Driver

CURRENT, PREVIOUS = "current", "previous"

Files = Mapping[str, bytes]


class Shelf(Protocol):
    def read(self, place: str) -> dict[str, bytes]:
        """The files there; empty where there is no pack. Raises StorageError."""

    def write(self, packs: Mapping[str, Files]) -> None:
        """Puts these packs in their places, all or none. The other place stays as it is. Raises StorageError."""

    async def flush(self) -> None:
        """Returns when what was written survives a crash."""


class MemoryShelf:
    """Lasts as long as the object."""

    def __init__(self) -> None:
        self.packs: dict[str, dict[str, bytes]] = {}

    def read(self, place: str) -> dict[str, bytes]:
        return dict(self.packs.get(place, {}))

    def write(self, packs: Mapping[str, Files]) -> None:
        self.packs.update({place: dict(files) for place, files in packs.items()})

    async def flush(self) -> None:
        pass


class DriverShelf:
    """In the table ``kernel_packs`` of an open, migrated database."""

    def __init__(self, driver: Driver, pack: str) -> None:
        self._driver = driver
        self._pack = pack

    def read(self, place: str) -> dict[str, bytes]:
        rows = self._driver.query("SELECT file, content FROM kernel_packs WHERE pack = ? AND place = ?", (self._pack, place))
        return dict(rows)  # type: ignore[arg-type]  whoever wrote other types into it is refused by pack.verify

    def write(self, packs: Mapping[str, Files]) -> None:
        with self._driver.transaction():
            for place, files in packs.items():
                self._driver.execute("DELETE FROM kernel_packs WHERE pack = ? AND place = ?", (self._pack, place))
                rows = ((self._pack, place, file, content) for file, content in files.items())
                self._driver.executemany("INSERT INTO kernel_packs VALUES (?, ?, ?, ?)", rows)

    async def flush(self) -> None:
        await self._driver.flush()
