"""A sealed memory on disk: the records of ``docs/sealing.md`` in the tables of a SQLite file, which brings crash safety and room for reuse.

The twin of ``web/src/bridge/pagestore.ts``: the base image lies in extents, and on top of it a log of the pages that each commit changed,
so a commit costs what it changed. A few extents at a time are then written anew, and the log loses what nobody needs any more.
"""

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FencedError, NewerError, ReadOnlyError, TamperedError
from .identity import SEALED_ID, is_sealed_file
from .pagedfile import EXTENT, PAGE, PagedFile
from .sealing import EXTENT as EXTENT_RECORD
from .sealing import HEAD, KEYS, LOG, MANIFEST, Keys, Label, protection_in
from .secret import Protection, Secret

FORMAT = 2  # of the head; 1 is a plain memory in a browser
TABLES = (
    "CREATE TABLE meta (kind INTEGER PRIMARY KEY, first INTEGER, second INTEGER, record BLOB)",
    "CREATE TABLE log (place INTEGER PRIMARY KEY, record BLOB)",  # sequence * 65536 + part
    "CREATE TABLE base (extent INTEGER PRIMARY KEY, record BLOB)",
)
PARTS = 65536
PAGES_PER_RECORD = 14  # 56 KB, for the browser's sake
LEAST_FOLD, MOST_FOLD = 4, 16  # extents per step: 1 to 4 MB
MERGE = 4 << 20  # bytes written after which SQLite's own log is merged into the file
LOG_HEADER = struct.Struct(">II")  # pages in this record, records in this commit; then the page numbers (uint32), then the pages


@dataclass
class Position:
    """Where the store stands with what it has on disk."""

    epoch: int = 0  # counts writers
    sequence: int = 0  # counts commits
    size: int = 0  # of the file, bytes
    manifest: int = 0
    log_from: int = 1  # first sequence that is needed from the log
    generations: list[int] = field(default_factory=list)  # by extent: the commit whose state the base has; 0 where it has none
    first_logged: dict[int, int] = field(default_factory=dict)  # by extent: the first commit that only the log has, oldest first
    log_bytes: dict[int, int] = field(default_factory=dict)  # by commit


class PageStore:
    """An open file of records. ``PageStore.open`` reads it, ``write_new`` makes one."""

    def __init__(self, name: str, connection: sqlite3.Connection, keys: Keys, position: Position):
        self.name, self.keys = name, keys
        self._connection, self._at, self._claimed = connection, position, False
        self._unmerged = 0  # bytes written since SQLite's own log was merged into the file

    @classmethod
    def open(cls, name: str, path: Path, secret: Secret, *, writable: bool) -> tuple["PageStore", PagedFile]:
        """The store and the file in it, wholly checked; nothing is written. LockedError, PassphraseError, CorruptError, NewerError."""
        connection = sqlite3.connect(f"{path.as_uri()}?mode={'rw' if writable else 'ro'}", uri=True, isolation_level=None)
        try:
            with reading(connection):
                keys = Keys.opened(name, opened_meta(name, connection).get(KEYS, (0, 0, None))[2], secret)
                position, file = decoded(connection, keys)
            if writable:
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = 1", "wal_autocheckpoint = 0"):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
        except BaseException:
            connection.close()
            raise
        return cls(name, connection, keys, position), file

    @property
    def untidy(self) -> bool:
        """Whether there is something to do that no commit should wait for."""
        return self._folding or self._unmerged > MERGE

    @property
    def _folding(self) -> bool:
        return self._log_size > log_limit(self._at.size)

    @property
    def logged(self) -> bool:
        """Whether some extent of the base is older than the log."""
        return bool(self._at.first_logged)

    @property
    def _log_size(self) -> int:
        return sum(self._at.log_bytes.values())

    def commit(self, file: PagedFile) -> bool:
        """Writes the pages that changed since the last commit; on return they are on disk. False if there were none."""
        pages = file.take_dirty()
        if not pages:
            return False
        at, sequence = self._at, self._at.sequence + 1
        bodies = log_bodies(file, pages)
        try:
            with self._written(sequence, file.size, at.manifest, at.log_from) as connection:
                for part, body in enumerate(bodies):
                    record = self.keys.sealer.seal((LOG, sequence, part), body)
                    connection.execute("INSERT INTO log VALUES (?, ?)", (sequence * PARTS + part, record))
        except BaseException:
            file.mark_dirty(pages)
            raise
        at.log_bytes[sequence] = sum(map(len, bodies))
        self._unmerged += at.log_bytes[sequence]
        for page in pages:
            at.first_logged.setdefault(page * PAGE // EXTENT, sequence)
        return True

    def tidy(self, file: PagedFile) -> None:
        """A step of it: a shorter log, or SQLite's own log merged. All that changed must be committed."""
        if self._folding:
            self.fold(file)
        if self._unmerged > MERGE:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._unmerged = 0

    def fold(self, file: PagedFile, *, most: int = MOST_FOLD) -> None:
        """Writes a few extents of the base anew, those whose changes are oldest in the log. All that changed must be committed."""
        at = self._at
        share = -(-len(at.first_logged) * max(at.log_bytes.values(), default=0) // log_limit(at.size))
        extents = list(at.first_logged)[: min(most, max(LEAST_FOLD, share))]
        generations = at.generations + [0] * (file.extent_count - len(at.generations))
        left = dict(at.first_logged)
        for extent in extents:
            del left[extent]
            if extent < len(generations):  # it may have been cut off since
                generations[extent] = at.sequence
        log_from, manifest = min(left.values(), default=at.sequence + 1), at.manifest + 1
        with self._written(at.sequence, at.size, manifest, log_from) as connection:
            put_manifest(connection, self.keys, manifest, generations)
            for extent in extents:
                record = self.keys.sealer.seal((EXTENT_RECORD, extent, at.sequence), file.extent(extent))
                connection.execute("INSERT OR REPLACE INTO base VALUES (?, ?)", (extent, record))
            connection.execute("DELETE FROM log WHERE place < ?", (log_from * PARTS,))
        self._unmerged += len(extents) * EXTENT
        at.generations, at.first_logged, at.manifest, at.log_from = generations, left, manifest, log_from
        at.log_bytes = {sequence: size for sequence, size in at.log_bytes.items() if sequence >= log_from}

    def rekey(self, current: Secret, new: Secret) -> None:
        """From now on ``new`` opens it and nothing else does. Only the keys and the head are written."""
        before, at = self.keys, self._at
        self.keys = before.rewrapped(self.name, current, new)
        try:
            with self._written(at.sequence, at.size, at.manifest, at.log_from) as connection:
                put_meta(connection, (KEYS, self.keys.generation, 0), self.keys.record)
        except BaseException:
            self.keys = before
            raise

    def replace(self, file: PagedFile) -> None:
        """Puts another file in the place of everything stored, in one transaction."""
        pages, at, sequence = file.take_dirty(), self._at, self._at.sequence + 1
        generations, manifest = [sequence] * file.extent_count, at.manifest + 1
        try:
            with self._written(sequence, file.size, manifest, sequence + 1) as connection:
                connection.execute("DELETE FROM log")
                connection.execute("DELETE FROM base")
                put_base(connection, self.keys, file, sequence)
                put_manifest(connection, self.keys, manifest, generations)
        except BaseException:
            file.mark_dirty(pages)
            raise
        at.generations, at.manifest, at.log_from, at.first_logged, at.log_bytes = generations, manifest, sequence + 1, {}, {}

    def checkpoint(self) -> None:
        """Empties SQLite's own log beside the file, which has what was overwritten."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def require_alone(self) -> None:
        """As the function of that name."""
        require_alone(self.name, self._connection)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _written(self, sequence: int, size: int, manifest: int, log_from: int) -> Iterator[sqlite3.Connection]:
        """One durable transaction that ends with the head, unless another writer's head lies there."""
        at, connection = self._at, self._connection
        epoch = at.epoch if self._claimed else at.epoch + 1
        connection.execute("BEGIN IMMEDIATE")
        try:
            [(stored, last)] = connection.execute("SELECT first, second FROM meta WHERE kind = ?", (HEAD,))
            if stored != at.epoch or (not self._claimed and last != at.sequence):
                raise FencedError(f"another process writes {self.name!r} now; what this one had not saved was not written")
            yield connection
            put_head(connection, self.keys, epoch, sequence, {"size": size, "manifest": manifest, "logFrom": log_from})
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        at.epoch, at.sequence, at.size, self._claimed = epoch, sequence, size, True


def require_alone(name: str, connection: sqlite3.Connection) -> None:
    """Ends the file's write-ahead log, which must not be there when another file takes its place. ReadOnlyError while somebody reads it."""
    try:
        [(mode,)] = connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError:
        mode = "wal"
    if mode != "delete":
        raise ReadOnlyError(f"{name!r} was not changed: another process is reading it")


def is_sealed(path: Path) -> bool:
    """Whether a file is a sealed memory, told by the application id in its header."""
    try:
        with path.open("rb") as file:
            return is_sealed_file(file.read(72))
    except OSError:
        return False


def stored_protection(name: str, path: Path) -> Protection:
    """What opens a sealed file; nothing is unlocked."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        return protection_in(opened_meta(name, connection).get(KEYS, (0, 0, None))[2])
    finally:
        connection.close()


def write_new(path: Path, file: PagedFile, keys: Keys) -> None:
    """A new file at ``path`` with all of ``file``, sealed and on disk."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in (f"page_size = {PAGE}", "synchronous = FULL", f"application_id = {SEALED_ID}", f"user_version = {FORMAT}"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for table in TABLES:
            connection.execute(table)
        put_meta(connection, (KEYS, keys.generation, 0), keys.record)
        put_base(connection, keys, file, 1)
        put_manifest(connection, keys, 1, [1] * file.extent_count)
        put_head(connection, keys, 1, 1, {"size": file.size, "manifest": 1, "logFrom": 2})
        connection.execute("COMMIT")
    finally:
        connection.close()
    file.take_dirty()


def put_meta(connection: sqlite3.Connection, label: Label, record: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?, ?)", (*label, record))


def put_head(connection: sqlite3.Connection, keys: Keys, epoch: int, sequence: int, body: dict[str, int]) -> None:
    text = json.dumps({**body, "keys": keys.generation}).encode()
    put_meta(connection, (HEAD, epoch, sequence), keys.sealer.seal((HEAD, epoch, sequence), text))


def put_manifest(connection: sqlite3.Connection, keys: Keys, number: int, generations: list[int]) -> None:
    body = struct.pack(f"<{len(generations)}d", *generations)
    put_meta(connection, (MANIFEST, number, 0), keys.sealer.seal((MANIFEST, number, 0), body))


def put_base(connection: sqlite3.Connection, keys: Keys, file: PagedFile, generation: int) -> None:
    for extent in range(file.extent_count):
        record = keys.sealer.seal((EXTENT_RECORD, extent, generation), file.extent(extent))
        connection.execute("INSERT INTO base VALUES (?, ?)", (extent, record))


def opened_meta(name: str, connection: sqlite3.Connection) -> dict[int, tuple[int, int, Any]]:
    """The records of meta, by kind: their two numbers and their bytes. NewerError."""
    [(version,)] = connection.execute("PRAGMA user_version")
    if version > FORMAT:
        raise NewerError(f"{name!r} is sealed in format {version}, this version reads {FORMAT}; nothing was changed")
    if version != FORMAT:
        raise TamperedError(f"{name!r} says that it has format {version}, which no sealed memory has; nothing was overwritten")
    return {kind: (first, second, record) for kind, first, second, record in connection.execute("SELECT * FROM meta")}


def decoded(connection: sqlite3.Connection, keys: Keys) -> tuple[Position, PagedFile]:
    """The file that is stored and where it stands; every record is checked on the way."""
    meta = opened_meta("the memory", connection)
    if not all(isinstance(number, int) for first, second, _ in meta.values() for number in (first, second)):
        raise TamperedError("the stored head was altered; nothing was overwritten")
    epoch, sequence, head = meta.get(HEAD, (0, 0, None))
    body = json.loads(keys.sealer.unseal((HEAD, epoch, sequence), head))
    if body["keys"] != keys.generation:
        raise TamperedError("the stored keys are not those of the last commit; nothing was overwritten")
    at = Position(epoch, sequence, body["size"], body["manifest"], body["logFrom"])
    if at.manifest:
        manifest = keys.sealer.unseal((MANIFEST, at.manifest, 0), meta.get(MANIFEST, (0, 0, None))[2])
        at.generations = [int(number) for (number,) in struct.iter_unpack("<d", manifest)]
    file = PagedFile()
    for extent, generation in enumerate(at.generations):
        if generation:
            row = connection.execute("SELECT record FROM base WHERE extent = ?", (extent,)).fetchone()
            file.extent(extent)[:] = keys.sealer.unseal((EXTENT_RECORD, extent, generation), row and row[0])
    replay(connection, keys, at, file)
    file.size = at.size
    return at, file


def replay(connection: sqlite3.Connection, keys: Keys, at: Position, file: PagedFile) -> None:
    """Puts the logged pages over the base. Every record from ``log_from`` to the last commit must be there."""
    expected, part = at.log_from, 0
    for place, record in connection.execute("SELECT place, record FROM log ORDER BY place"):
        if place != expected * PARTS + part:
            raise TamperedError(f"the sealed log lacks record {expected}/{part}; nothing was overwritten")
        body = keys.sealer.unseal((LOG, expected, part), record)
        count, records = LOG_HEADER.unpack_from(body)
        at.log_bytes[expected] = at.log_bytes.get(expected, 0) + len(body)
        for place, page in enumerate(struct.unpack_from(f">{count}I", body, LOG_HEADER.size)):
            extent, offset = divmod(page * PAGE, EXTENT)
            if extent < len(at.generations) and expected <= at.generations[extent]:
                continue  # the base has it already
            start = LOG_HEADER.size + 4 * count + place * PAGE
            file.extent(extent)[offset : offset + PAGE] = body[start : start + PAGE]
            at.first_logged.setdefault(extent, expected)
        part += 1
        if part == records:
            expected, part = expected + 1, 0
    if (expected, part) != (at.sequence + 1, 0):
        raise TamperedError(f"the sealed log ends before record {expected}/{part} of commit {at.sequence}; nothing was overwritten")


def log_bodies(file: PagedFile, pages: list[int]) -> list[bytes]:
    groups = [pages[start : start + PAGES_PER_RECORD] for start in range(0, len(pages), PAGES_PER_RECORD)]
    heads = [LOG_HEADER.pack(len(group), len(groups)) + struct.pack(f">{len(group)}I", *group) for group in groups]
    return [b"".join((head, *map(file.page, group))) for head, group in zip(heads, groups, strict=True)]


def log_limit(size: int) -> int:
    """How long the log may get, in bytes, before it is folded."""
    return min(32 << 20, max(4 << 20, size // 4))


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """One moment of the stored file."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
