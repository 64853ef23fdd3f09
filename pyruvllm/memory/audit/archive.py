"""Archives of the witness log: entries in a file, from where they can be searched again, and where forgetting still reaches them.

What is in a file cannot be taken out of its copies. So the entries of each session are sealed (AES-256-GCM) with a key of their own, made
for this archive, which stays in the memory: whoever forgets the session, or its user, destroys the key, and every copy of the file has lost
those entries. A file is of no use without the memory that wrote it, or a later copy of that.

An archive is made in two steps. ``write`` copies entries into a file and changes nothing; ``clear`` removes from the log those that are
still as they were archived, each with a tombstone that has the file's digest. Between the two the file can be put where it is safe.
The bytes of a file: see ``frames``. What a block seals: see ``pack``.
"""

import asyncio
import json
import os
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ... import host
from ...config import DIMENSION
from ...errors import ArchiveError, NotFoundError
from . import retention
from .chain import ARCHIVED, CONTENT, digest
from .criteria import matching
from .entry import entry_of
from .frames import Reader, Writer, opened

if TYPE_CHECKING:
    from .audited import Audited

BLOCK = 256  # entries sealed at once
KEY = 32  # bytes
HALF = 2 * DIMENSION  # bytes of a vector of float16

SESSIONS = """SELECT w.session, max(w.user_id), count(*) FROM witness AS w WHERE {} GROUP BY w.session
    ORDER BY min(w.timestamp), w.session"""
UNCHANGED = """SELECT a.number, NOT EXISTS (SELECT 1 FROM witness_chain AS c WHERE c.number = a.number AND c.ordinal > ?), w.hold
    FROM witness_archived AS a JOIN witness AS w ON w.number = a.number WHERE a.archive = ? ORDER BY a.number"""

Progress = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True)
class Archive:
    """A file that was written. ``digest`` is the last hash in it, in hex; ``clear`` takes its ``id``."""

    id: str
    made_at: int
    entries: int
    digest: str


@dataclass(frozen=True)
class OpenArchive:
    """An archive that was read. ``log`` answers whatever the witness log does; ``sealed`` entries have lost their keys."""

    log: "Audited"
    id: str
    made_at: int
    entries: int
    sealed: int

    async def close(self) -> None:
        await self.log.memory.close()


async def write(
    log: "Audited", target: str | Path | Callable[[bytes], Any], where: Mapping[str, Any] | None, progress: Progress | None
) -> Archive:
    """See ``Audited.archive``."""
    memory = log.memory
    test, values = matching(where)
    groups: Any = memory.driver.query(SESSIONS.format(test), values)
    id, now, chained = memory.clock.new_id(), memory.clock.now_ms(), log.chain.head()[0]
    done, total = 0, sum(count for *_, count in groups)
    keys = [(os.urandom(8).hex(), os.urandom(KEY)) for _ in groups]
    try:
        memory.driver.executemany(
            "INSERT INTO witness_keys (id, archive, session, user_id, key) VALUES (?, ?, ?, ?, ?)",
            [(key_id, id, session, user, key) for (session, user, _), (key_id, key) in zip(groups, keys, strict=True)],
        )
        with opened(target) as put:
            writer = Writer(put, {"kind": "archive", "id": id, "made_at": now, "space": memory.embedder.space.key})
            for (session, *_), (key_id, key) in zip(groups, keys, strict=True):
                async for rows in _blocks(log, id, key_id, f"w.session = ? AND {test}", [session, *values]):
                    header = {"kind": "block", "key": key_id, "entries": len(rows)}
                    await writer.sealed(header, key, pack(rows))
                    done += len(rows)
                    if progress is not None:
                        progress(done, total)
            mark = writer.end({"kind": "end", "entries": done})
        memory.driver.execute("INSERT INTO witness_archives VALUES (?, ?, ?, ?, ?)", (id, now, done, mark, chained))
        await memory.flush()
    except BaseException:
        _discard(log, id)
        raise
    return Archive(id, now, done, mark.hex())


async def _blocks(log: "Audited", archive: str, key: str, test: str, values: Sequence[Any]) -> AsyncIterator[list[Any]]:
    """Entries as the chain digests them, a block at a time, each noted as being in the archive before anybody can forget it there."""
    last = 0
    while True:
        sql = f"{CONTENT} WHERE w.number > ? AND {test} ORDER BY w.number LIMIT {BLOCK}"
        with log.memory.transaction():
            rows: Any = log.memory.driver.query(sql, [last, *values])
            log.memory.driver.executemany(
                "INSERT INTO witness_archived (archive, number, id, key) VALUES (?, ?, ?, ?)",
                [(archive, row[0], row[2], key) for row in rows],
            )
        if not rows:
            return
        yield rows
        last = rows[-1][0]
        await asyncio.sleep(0)


def _discard(log: "Audited", archive: str) -> None:
    """The keys and notes of an archive that came to nothing."""
    with log.memory.transaction():
        for table in ("witness_keys", "witness_archived"):
            log.memory.driver.execute(f"DELETE FROM {table} WHERE archive = ?", [archive])


async def clear(log: "Audited", id: str, progress: Progress | None) -> retention.Cleared:
    """See ``Audited.clear``."""
    made: Any = log.memory.driver.query("SELECT digest, chained FROM witness_archives WHERE id = ?", [id])
    if not made:
        raise NotFoundError(f"no archive {id!r} was made here")
    rows: Any = log.memory.driver.query(UNCHANGED, [made[0][1], id])
    going = [number for number, same, hold in rows if same and hold is None]
    held = sum(hold is not None for *_, hold in rows)
    removed = await retention.remove(log, going, ARCHIVED, made[0][0], progress)
    return retention.Cleared(removed, held, changed=len(rows) - len(going) - held)


async def read(log: "Audited", source: str | Path | bytes | BinaryIO, progress: Progress | None) -> OpenArchive:
    """See ``Audited.open_archive``."""
    from ...storage import open_driver
    from ..unified import UnifiedMemory

    reader = Reader(source)
    head = reader.head
    memory = await UnifiedMemory.open(await open_driver(":memory:"), log.memory.embedder, log.memory.config)
    try:
        there = type(log)(memory)
        foreign = head.get("space") != memory.embedder.space.key
        entries, sealed = 0, 0
        for header, body in reader:
            key: Any = log.memory.driver.query("SELECT key FROM witness_keys WHERE id = ? AND archive = ?", [header["key"], head["id"]])
            if key:
                rows = await _unsealed(log, reader, header, body, key[0][0])
                there.restore(entry_of((*row[2:5], None if foreign else row[6], row[7])) for row in rows)
                entries += len(rows)
            else:
                sealed += int(header["entries"])
            if progress is not None:
                progress(reader.done, reader.total)
            await asyncio.sleep(0)
        if foreign and entries:
            await memory.reembed("witness")
    except BaseException:
        await memory.close()
        raise
    return OpenArchive(there, head["id"], head["made_at"], entries, sealed)


async def _unsealed(log: "Audited", reader: Reader, header: Mapping[str, Any], body: bytes, key: bytes) -> list[Any]:
    """The rows of a block, each as the chain says it was when it was recorded, or changed last. ArchiveError."""
    plain = await host.current().unseal(key, body, reader.bound)
    if plain is None:
        raise ArchiveError(f"{reader.name}: a block does not open with its key: it was altered")
    rows = unpack(plain)
    numbers = json.dumps([row[0] for row in rows])
    sql = "SELECT number, digest FROM witness_chain WHERE number IN (SELECT value FROM json_each(?))"
    known = set(log.memory.driver.query(sql, [numbers]))
    stranger = next((row for row in rows if (row[0], digest(*row[1:])) not in known), None)
    if stranger is not None:
        raise ArchiveError(f"{reader.name}: the entry {stranger[2]} is not as the chain of the log has it")
    return rows


def pack(rows: Sequence[Any]) -> bytes:
    """Rows of ``chain.CONTENT`` as what a block seals, compressed by zlib:

    uint32 length of a JSON list; the list, with (number, salt in hex, id, text, metadata, created_at, has a query's vector, has a
    response's) for each entry; then the vectors, all of the queries and all of the responses: of float16 the low bytes, then the high ones.
    """
    listed = [
        [number, None if salt is None else salt.hex(), id, text, metadata, created_at, query is not None, response is not None]
        for number, salt, id, text, metadata, created_at, query, response in rows
    ]
    text = json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode()
    planes = [_planes([row[column] for row in rows if row[column] is not None]) for column in (6, 7)]
    return zlib.compress(b"".join([struct.pack("<I", len(text)), text, *planes]))


def unpack(plain: bytes) -> list[tuple[Any, ...]]:
    """The rows that were packed."""
    whole = zlib.decompress(plain)
    (length,) = struct.unpack_from("<I", whole)
    listed = json.loads(whole[4 : 4 + length])
    rest, vectors = whole[4 + length :], []
    for place in (6, 7):
        count = sum(row[place] for row in listed)
        vectors.append(iter(_joined(rest[: count * HALF], count)))
        rest = rest[count * HALF :]
    rows = []
    for number, salt, id, text, metadata, created_at, *has in listed:
        pair = [next(column) if there else None for column, there in zip(vectors, has, strict=True)]
        rows.append((number, None if salt is None else bytes.fromhex(salt), id, text, metadata, created_at, *pair))
    return rows


def _planes(vectors: Sequence[bytes]) -> bytes:
    """The low bytes are noise, the high ones are alike: apart they compress better."""
    return np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, 2).T.tobytes()


def _joined(planes: bytes, count: int) -> list[bytes]:
    whole = np.frombuffer(planes, np.uint8).reshape(2, -1).T.tobytes()
    return [whole[place * HALF : (place + 1) * HALF] for place in range(count)]
