"""The driver protocol: the little of SQL that the rest of the package needs, over two databases.

Everything but opening, flushing, exporting and closing is synchronous: sql.js holds the database in memory, sqlite3 blocks.

Integers are exact in INTEGER columns on both. Elsewhere (a column without a type, ``SELECT ?``) sql.js may turn one of more than
32 bits that comes as a parameter into a float of the same value, and one of more than 53 bits into text.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from .secret import Protection, Secret

Value = None | int | float | str | bytes
Row = tuple[Value, ...]
Role = Literal["writer", "follower", "reader"]


@dataclass(frozen=True)
class Blobs:
    """Many blobs as one run of bytes: reading a hundred thousand of them one by one takes longer than looking into all."""

    numbers: np.ndarray  # (n,) int64
    sizes: np.ndarray  # (n,) int64, bytes
    content: bytes | memoryview  # one after the other

    def __len__(self) -> int:
        return len(self.numbers)

    def kept(self, mask: np.ndarray) -> "Blobs":
        """Those that a mask (n,) bool holds for."""
        if mask.all():
            return self
        content = np.frombuffer(self.content, np.uint8)[np.repeat(mask, self.sizes.astype(np.intp))].tobytes()
        return Blobs(self.numbers[mask], self.sizes[mask], content)


class Driver(Protocol):
    """An open database. Errors: the ``StorageError`` family of ``pyruvllm.errors``; nothing else escapes."""

    name: str

    @property
    def writable(self) -> bool:
        """False: another tab or process is the writer, or it was opened so. Writes raise ReadOnlyError."""

    @property
    def protection(self) -> Protection | None:
        """What opens this database; None if it is not sealed."""

    @property
    def durable_ms(self) -> float:
        """How long the last commit that wrote something took to become durable."""

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Runs one statement; returns how many rows it changed."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        """Runs one statement once per row of parameters, compiled once; returns how many rows it changed."""

    def query(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """All rows of one SELECT. Blobs come back as bytes."""

    def blobs(self, sql: str, parameters: Sequence[Value] = ()) -> Blobs:
        """All rows of one SELECT of an integer and a blob."""

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing. Nests (savepoints). Synchronous: nothing may be awaited inside."""

    async def flush(self) -> None:
        """Returns when all that was committed before the call survives a crash.

        Raises QuotaError (changes stay in memory, a later flush tries again) and FencedError.
        """

    async def scrub(self) -> None:
        """Flushes, and returns when what was deleted or overwritten before the call is nowhere in the stored database any more.

        Natively a reader in another process keeps its snapshot, and with it the old pages, until it closes.
        """

    def size(self) -> int:
        """Bytes of the database image."""

    async def compact(self) -> None:
        """Flushes, and gives pages without content back to the disk. QuotaError where there is no room for the smaller copy."""

    async def export(self) -> bytes:
        """The whole database as one ordinary SQLite file, with the same bytes on either host (``image.canonical``)."""

    async def protect(self, secret: Secret) -> None:
        """Seals the stored database, so that from now on ``secret`` opens it: wholly or not at all.

        ReadOnlyError, StorageError for a database that is sealed already or lasts as long as the driver.
        """

    async def unprotect(self) -> None:
        """Stores the sealed database plain: wholly or not at all."""

    async def rekey(self, current: Secret, new: Secret) -> None:
        """From now on ``new`` opens the sealed database and nothing else does; ``current`` must open it now. No data is written.

        PassphraseError, LockedError: then nothing was changed.
        """

    async def replace(self, image: bytes, check: Callable[["Driver"], None]) -> None:
        """Puts another SQLite file in the place of this one, durably: wholly or not at all.

        ``check`` is called with a read-only driver over the new image first and raises if it is not wanted;
        CorruptError if it is no sound SQLite file. The old content stays in either case.
        """

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Calls back with the reason when this driver stops being the writer."""

    # What follows is about the tabs of a browser. Natively there is one writer, and others keep the moment at which they opened.

    @property
    def role(self) -> Role:
        """ "writer"; "follower": another tab writes, its saves are read here, and it does what is asked by ``call``; "reader"."""

    @property
    def shared(self) -> bool:
        """Whether other tabs can have it open."""

    def follow(self, told: Callable[[str, str], None]) -> None:
        """``told(what, why)`` is called from now on: "refreshed", with all that was read changed; "writer", this tab is it now; "follower".

        A follower sees no change before this was called.
        """

    def serve(self, perform: Callable[[str, str], Awaitable[str]]) -> None:
        """What calls of other tabs are done by: ``perform(id, request)``, which raises only where this tab is not the writer any more."""

    async def call(self, id: str, request: str) -> str:
        """Has the writer do something and returns its answer, when what it saved can be read here. Raises ReadOnlyError of a reader,
        StorageError when no tab answers and none can take over. Whoever becomes the writer is asked again under the same id.
        """

    async def take_over(self) -> None:
        """From follower to writer: the writer saves what it has and lets go. ReadOnlyError of a reader."""

    async def close(self) -> None:
        """Flushes and gives the writer's lock back. Safe to call twice."""
