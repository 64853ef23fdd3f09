"""The browser's driver: SQLite in WebAssembly, kept in IndexedDB by ``web/src/bridge/database.ts``.

Parameters and rows cross as packed bytes (``rowbytes``), so a call costs one copy each way whatever it carries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from .. import host
from ..errors import ReadOnlyError, StorageError
from .driver import Blobs, Driver, Role, Row, Value
from .identity import claim
from .rowbytes import pack, unpack, unpack_blobs
from .secret import Protection, Secret
from .transaction import Transactions

ROWS_AT_ONCE = 500  # of parameters in one crossing


class SqljsDriver:
    """An open database; see ``Driver``. Use ``SqljsDriver.open``."""

    def __init__(self, name: str, database: Any):
        self.name = name
        self._host: Any = host.current()  # the browser's: beyond Host it has the bridge and the crossing helpers
        self._database = database
        self._transactions = Transactions(self.execute)
        self._watches: list[asyncio.Task[None]] = []
        self._callbacks: dict[str, Any] = {}  # proxies, which live until they are destroyed

    @classmethod
    async def open(cls, name: str, *, readonly: bool = False, secret: Secret | None = None) -> "SqljsDriver":
        """The database of that name in this origin's IndexedDB; ":memory:" lasts as long as the driver."""
        if not name.strip():
            raise StorageError(f"{name!r} cannot name a database: give a name such as 'notes'")
        browser: Any = host.current()
        options = {"readonly": readonly, **for_bridge(secret or Secret())}
        driver = cls(name, await browser.call(browser.bridge.openDatabase(name, browser.to_js(options))))
        try:
            claim(driver)
        except BaseException:
            await driver.close()
            raise
        return driver

    @property
    def writable(self) -> bool:
        return bool(self._database.writable)

    @property
    def protection(self) -> Protection | None:
        return from_bridge(self._database.protection)

    @property
    def durable_ms(self) -> float:
        return float(self._database.durableMs)

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        with self._host.errors():
            return int(self._database.run(sql, self._packed([parameters])))

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        remaining = iter(rows)
        some, changed = list(islice(remaining, ROWS_AT_ONCE)), 0
        if len(some) < ROWS_AT_ONCE:
            with self._host.errors():  # of one crossing all are written or none
                return int(self._database.run(sql, self._packed(some)))
        with self.transaction(), self._host.errors():
            while some:
                changed += int(self._database.run(sql, self._packed(some)))
                some = list(islice(remaining, ROWS_AT_ONCE))
        return changed

    def query(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        with self._host.errors():
            return unpack(self._host.to_py(self._database.query(sql, self._packed([parameters]))))

    def blobs(self, sql: str, parameters: Sequence[Value] = ()) -> Blobs:
        with self._host.errors():
            return unpack_blobs(self._host.to_py(self._database.query(sql, self._packed([parameters]))))

    def transaction(self) -> AbstractContextManager[None]:
        return self._transactions.level()

    async def flush(self) -> None:
        await self._host.call(self._database.flush())

    async def scrub(self) -> None:
        await self._host.call(self._database.scrub())

    async def compact(self) -> None:
        await self._host.call(self._database.compact())

    def size(self) -> int:
        with self._host.errors():
            return int(self._database.size())

    async def export(self) -> bytes:
        with self._host.errors():
            return self._database.export().to_bytes()

    async def protect(self, secret: Secret) -> None:
        if self.protection:
            raise StorageError(f"{self.name!r} is sealed already: change its passphrase instead")
        self._not_in_a_transaction()
        await self._host.call(self._database.protect(self._host.to_js(for_bridge(secret))))

    async def unprotect(self) -> None:
        if not self.protection:
            raise StorageError(f"{self.name!r} is not sealed")
        self._not_in_a_transaction()
        await self._host.call(self._database.protect(None))

    async def rekey(self, current: Secret, new: Secret) -> None:
        self._not_in_a_transaction()
        await self._host.call(self._database.rekey(self._host.to_js(for_bridge(current)), self._host.to_js(for_bridge(new))))

    def _not_in_a_transaction(self) -> None:
        if self._transactions.open:
            raise StorageError("a database cannot be sealed or unsealed inside a transaction")

    async def replace(self, image: bytes, check: Callable[[Driver], None]) -> None:
        if not self.writable:
            raise ReadOnlyError(f"{self.name!r} is open read-only here")
        if self._transactions.open:
            raise StorageError("a database cannot be replaced inside a transaction")
        with self._host.errors():
            candidate = SqljsDriver(f"the file to be put in the place of {self.name!r}", self._database.candidate(self._host.to_js(image)))
        try:
            claim(candidate)
            check(candidate)
            await self._host.call(self._database.replace(candidate._database))
        finally:
            await candidate.close()

    def on_lost(self, callback: Callable[[str], None]) -> None:
        self._watch(self._database.lost, callback)

    @property
    def role(self) -> Role:
        return self._database.role

    @property
    def shared(self) -> bool:
        return bool(self._database.shared)

    def follow(self, told: Callable[[str, str], None]) -> None:
        self._database.follow(self._callback("told", told))

    def serve(self, perform: Callable[[str, str], Awaitable[str]]) -> None:
        self._database.serve(self._callback("perform", perform))

    async def call(self, id: str, request: str) -> str:
        return str(await self._host.call(self._database.call(id, request)))

    async def take_over(self) -> None:
        await self._host.call(self._database.takeOver())

    async def close(self) -> None:
        try:
            await self._host.call(self._database.close())
        finally:
            await asyncio.gather(*self._watches)  # closing settles what they wait for
            for callback in self._callbacks.values():
                callback.destroy()
            self._callbacks.clear()

    def _packed(self, rows: Sequence[Sequence[Value]]) -> Any:
        return None if len(rows) == 1 and not len(rows[0]) else self._host.to_js(pack(rows))  # the bridge knows a row of none

    def _callback(self, what: str, function: Callable[..., Any]) -> Any:
        """The function as JavaScript can call it; the one before of its kind is called no more."""
        before, self._callbacks[what] = self._callbacks.get(what), self._host.callback(function)
        if before is not None:
            before.destroy()
        return self._callbacks[what]

    def _watch(self, promise: Awaitable[Any], callback: Callable[[Any], None]) -> None:
        """Calls back when a promise brings something; null and false say that it will not happen any more."""

        async def wait() -> None:
            if outcome := await promise:
                callback(outcome)

        self._watches.append(asyncio.ensure_future(wait()))


async def delete(name: str) -> None:
    """Removes the database and its IndexedDB, whoever has it open: they lose it and are told."""
    browser: Any = host.current()
    await browser.call(browser.bridge.deleteDatabase(name))


async def protection_of(name: str) -> Protection | None:
    """What opens the database of that name; None if it is plain or not there."""
    browser: Any = host.current()
    return from_bridge(await browser.call(browser.bridge.protectionOf(name)))


async def sealed_file(image: bytes, secret: Secret) -> bytes:
    """See ``storage.sealed_file``."""
    browser: Any = host.current()
    return (await browser.call(browser.bridge.sealedFile(browser.to_js(image), secret.passphrase))).to_bytes()


async def open_sealed_file(content: bytes, secret: Secret) -> bytes:
    """See ``storage.open_sealed_file``."""
    browser: Any = host.current()
    return (await browser.call(browser.bridge.openSealedFile(browser.to_js(content), secret.passphrase))).to_bytes()


def for_bridge(secret: Secret) -> dict[str, Any]:
    """A secret as the bridge takes it, which asks whether a field is there."""
    fields = {"passphrase": secret.passphrase, "deviceKey": secret.device_key}
    return {name: value for name, value in fields.items() if value is not None}


def from_bridge(found: Any) -> Protection | None:
    """``found``: null or undefined, which Pyodide gives as None, for none."""
    return Protection(found.passphrase, found.deviceKey, found.thisDevice) if found else None
