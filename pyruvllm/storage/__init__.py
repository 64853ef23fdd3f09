"""Where records live: the driver protocol, its two drivers, and the schema with its migrations."""

import sys

from .driver import Driver, Row, Value
from .migrate import Migration, check, migrate

__all__ = ["Driver", "Migration", "Row", "Value", "check", "delete_database", "migrate", "open_driver"]

BROWSER = sys.platform == "emscripten"


async def open_driver(name: str, *, readonly: bool = False) -> Driver:
    """Opens a database, and makes it unless ``readonly``. ":memory:" lasts as long as the driver.

    In the browser ``name`` is a name in this origin. Natively a bare name lives in the user's data folder, and a path stays a path.
    Who comes second, in this process or another, in this tab or another, gets a driver with ``writable`` False, which keeps
    seeing the database as it was when it opened. CorruptError, NewerError and StorageError (another application's file): the
    database stays as it is.
    """
    if BROWSER:
        from .sqljs import SqljsDriver

        return await SqljsDriver.open(name, readonly=readonly)
    from .sqlite import SqliteDriver

    return await SqliteDriver.open(name, readonly=readonly)


async def delete_database(name: str) -> None:
    """Removes a database wholly. In the browser, whoever has it open loses it; natively that is refused with ReadOnlyError."""
    if BROWSER:
        from .sqljs import delete
    else:
        from .sqlite import delete
    await delete(name)
