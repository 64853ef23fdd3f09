"""Where records live: the driver protocol, its two drivers, and the schema with its migrations."""

import sys

from .driver import Driver, Row, Value
from .identity import is_sealed_file
from .migrate import Migration, check, migrate
from .secret import Protection, Secret

__all__ = ["Driver", "Migration", "Protection", "Row", "Secret", "Value", "check", "delete_database", "migrate", "open_driver"]
__all__ += ["is_sealed_file", "open_sealed_file", "protection_of", "sealed_file"]

BROWSER = sys.platform == "emscripten"


async def open_driver(name: str, *, readonly: bool = False, secret: Secret | None = None) -> Driver:
    """Opens a database, and makes it unless ``readonly``. ":memory:" lasts as long as the driver.

    In the browser ``name`` is a name in this origin. Natively a bare name lives in the user's data folder, and a path stays a path.
    Who comes second gets a driver with ``writable`` False. In the browser it follows what the first one saves, has it write by ``call``
    and takes its place when it is gone; natively it keeps seeing the database as it was when it opened.
    CorruptError, NewerError and StorageError (another application's file): the database stays as it is.

    ``secret`` opens a sealed database, and makes a new one sealed; LockedError and PassphraseError where it does not fit, TamperedError,
    and StorageError for a secret to a database that is not sealed. Without one, this device's key is tried.
    """
    if BROWSER:
        from .sqljs import SqljsDriver

        return await SqljsDriver.open(name, readonly=readonly, secret=secret)
    from .sqlite import SqliteDriver

    return await SqliteDriver.open(name, readonly=readonly, secret=secret)


async def delete_database(name: str) -> None:
    """Removes a database wholly. In the browser, whoever has it open loses it; natively that is refused with ReadOnlyError."""
    if BROWSER:
        from .sqljs import delete
    else:
        from .sqlite import delete
    await delete(name)


async def protection_of(name: str) -> Protection | None:
    """What opens the database of that name; None if it is not sealed or not there. Nothing is unlocked."""
    if BROWSER:
        from .sqljs import protection_of as found
    else:
        from .sqlite import protection_of as found
    return await found(name)


async def sealed_file(image: bytes, passphrase: str) -> bytes:
    """A plain SQLite file sealed for going elsewhere: the format of ``docs/sealing.md``, under keys of its own."""
    secret = Secret(passphrase)
    if BROWSER:
        from .sqljs import sealed_file as sealed
    else:
        from .sealedfile import sealed_file as sealed
    return await sealed(image, secret)


async def open_sealed_file(content: bytes, passphrase: str) -> bytes:
    """The plain SQLite file in a sealed one. PassphraseError, LockedError, CorruptError, TamperedError, NewerError."""
    secret = Secret(passphrase)
    if BROWSER:
        from .sqljs import open_sealed_file as opened
    else:
        from .sealedfile import open_sealed_file as opened
    return await opened(content, secret)
