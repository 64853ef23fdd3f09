"""The chain of the witness log: whatever happened to an entry is a link, and a link that is altered or missing shows.

A link says what happened to which entry and has the digest of the entry as it was afterwards:

    digest = SHA-256(salt, id, text, metadata, created_at, query embedding, response embedding)
    hash   = SHA-256(hash of the link before, ordinal, number, happened_at, event, digest)

Each part of a digest is preceded by its length, so that no two contents are packed alike; metadata is the JSON that is stored, which has
every other field of the entry. The salt, 16 random bytes, goes with the entry: what stays of one that was removed is a digest that tells
nothing. An entry that is removed on purpose leaves a link that says so, its tombstone, and the chain stays whole.

The chain by itself does not show that its newest links were cut off together with their entries, or that all of it was made anew by
somebody who can write to the database. Whoever notes ``head`` elsewhere can have it looked for: that is what ``verify(head=...)`` is for.
"""

import asyncio
import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...config import Clock
from ...errors import ConfigError
from ...storage.driver import Driver
from .entry import COLUMNS

RECORDED, ADOPTED, RATED, HELD, RELEASED, REEMBEDDED = "recorded", "adopted", "rated", "held", "released", "reembedded"
FORGOTTEN, EXPIRED, ARCHIVED = GONE = ("forgotten", "expired", "archived")  # the tombstones
SALT = 16  # bytes
SLICE = 500  # rows looked at between two turns of the event loop
START = bytes(32)  # the hash before the first link
NONE = b"\xff\xff\xff\xff"

CONTENT = """SELECT w.number, w.salt, r.id, r.text, r.metadata, r.created_at, v.embedding, w.response_embedding
    FROM witness AS w JOIN records AS r ON r.number = w.number LEFT JOIN vectors AS v ON v.number = w.number"""
LAST = "SELECT max(ordinal) FROM witness_chain WHERE number = w.number"
AGREES = " AND ".join(f"w.{column} IS json_extract(r.metadata, '$.{path}')" for column, path in COLUMNS.items())
ENTRIES = f"""{CONTENT.replace("FROM", f", {AGREES}, c.ordinal, c.event, c.digest FROM", 1)}
    LEFT JOIN witness_chain AS c ON c.ordinal = ({LAST}) WHERE w.number > ? ORDER BY w.number LIMIT {SLICE}"""
VANISHED = f"""SELECT c.number, c.ordinal FROM witness_chain AS c
    WHERE c.event NOT IN ({", ".join("?" * len(GONE))}) AND c.number NOT IN (SELECT number FROM witness)
    AND c.ordinal = (SELECT max(ordinal) FROM witness_chain WHERE number = c.number) ORDER BY c.number LIMIT 1"""

Progress = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True)
class Broken:
    """The first thing that is not as it was recorded. ``ordinal`` is of a link, ``number`` and ``id`` are of an entry, where known."""

    reason: str
    number: int | None = None
    id: str | None = None
    ordinal: int | None = None

    def __str__(self) -> str:
        what = f"entry {self.id}" if self.id else f"entry number {self.number}" if self.number else "the chain"
        return f"{what}: {self.reason}" + (f" (link {self.ordinal})" if self.ordinal else "")


@dataclass(frozen=True)
class Verdict:
    """What a look at the whole log found. ``head`` is the newest link's hash in hex, ``removed`` counts the tombstones by event.

    ``adopted`` entries are from before the chain: it proves what they were when it was begun.
    """

    entries: int
    links: int
    head: str
    removed: dict[str, int] = field(default_factory=dict)
    adopted: int = 0
    broken: Broken | None = None

    @property
    def ok(self) -> bool:
        return self.broken is None


class Chain:
    """Over the table witness_chain. ``append`` is called inside the transaction of what it tells of."""

    def __init__(self, driver: Driver, clock: Clock, random: Callable[[int], bytes] = os.urandom):
        self._driver, self._clock, self._random = driver, clock, random

    def salts(self, count: int) -> list[bytes]:
        given = self._random(SALT * count)
        return [given[start : start + SALT] for start in range(0, len(given), SALT)]

    def head(self) -> tuple[int, bytes]:
        """(ordinal, hash) of the newest link; (0, zeros) of an empty chain."""
        rows: Any = self._driver.query("SELECT ordinal, hash FROM witness_chain ORDER BY ordinal DESC LIMIT 1")
        return rows[0] if rows else (0, START)

    def append(self, event: str, numbers: Sequence[int], digest: bytes | None = None) -> None:
        """A link for each of the entries, as they lie in the tables now; ``digest`` stands in where they are going or gone."""
        for start in range(0, len(numbers), SLICE):
            part = numbers[start : start + SLICE]
            self.link(event, self.digests(part) if digest is None else dict.fromkeys(part, digest))

    def link(self, event: str, digests: Mapping[int, bytes]) -> None:
        """Links for entries by number, whose digests are known, in the order in which they are given."""
        now, (last, before), links = self._clock.now_ms(), self.head(), []
        for ordinal, (number, content) in enumerate(digests.items(), last + 1):
            before = link_hash(before, ordinal, number, now, event, content)
            links.append((ordinal, number, event, now, content, before))
        self._driver.executemany(
            "INSERT INTO witness_chain (ordinal, number, event, happened_at, digest, hash) VALUES (?, ?, ?, ?, ?, ?)", links
        )

    def digests(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Of entries that are there, in their order."""
        sql = f"{CONTENT} WHERE w.number IN (SELECT value FROM json_each(?))"
        rows: Any = self._driver.query(sql, [json.dumps([int(number) for number in numbers])])
        found = {row[0]: digest(*row[1:]) for row in rows}
        return {number: found[number] for number in numbers}

    def adopt(self) -> int:
        """Links for the entries of a log that had no chain yet; returns how many. Where there is a chain, nothing is adopted any more."""
        if self.head()[0] or not self._driver.query("SELECT 1 FROM witness LIMIT 1"):
            return 0
        with self._driver.transaction():
            numbers = [int(number) for (number,) in self._driver.query("SELECT number FROM witness ORDER BY number")]  # type: ignore[arg-type]
            salts = zip(self.salts(len(numbers)), numbers, strict=True)
            self._driver.executemany("UPDATE witness SET salt = ? WHERE number = ? AND salt IS NULL", salts)
            self.append(ADOPTED, numbers)
        return len(numbers)

    def sound(self) -> list[int]:
        """Numbers of the entries that are as the chain says."""
        found, last = [], 0
        while rows := self._entries(last):
            found += [row[0] for row in rows if _fault(row) is None]
            last = rows[-1][0]
        return found

    async def verify(self, head: str | None = None, progress: Progress | None = None) -> Verdict:
        """Looks at every link and every entry, in slices; see ``Audited.verify``."""
        if head is not None and not _is_hash(head):
            raise ConfigError(f"head is {head!r}; 64 hexadecimal digits, as verify() gives them, would be right")
        ordinal, newest = self.head()
        total = ordinal + int(self._driver.query("SELECT count(*) FROM witness")[0][0])  # type: ignore[arg-type]
        tell = progress or (lambda done, total: None)
        broken = await self._verify_links(ordinal, lambda done: tell(done, total))
        entries, altered = await self._verify_entries(lambda done: tell(ordinal + done, total))
        if altered and (broken is None or altered.ordinal and altered.ordinal < (broken.ordinal or 0)):
            broken = altered
        if broken is None and head is not None and not self._has(head):
            broken = Broken(f"the link that was noted as its head, {head[:12]}…, is not there any more")
        events: Any = dict(self._driver.query("SELECT event, count(*) FROM witness_chain GROUP BY event"))  # type: ignore[arg-type]
        removed = {event: events[event] for event in GONE if event in events}
        return Verdict(entries, ordinal, newest.hex(), removed, events.get(ADOPTED, 0), broken)

    async def _verify_links(self, until: int, tell: Callable[[int], None]) -> Broken | None:
        before, done = START, 0
        while done < until:
            rows: Any = self._driver.query(
                "SELECT ordinal, number, event, happened_at, digest, hash FROM witness_chain WHERE ordinal > ? ORDER BY ordinal LIMIT ?",
                [done, SLICE],
            )
            if not rows:  # another database was put in the place of this one meanwhile
                return Broken(f"link {done + 1} is missing from the chain", ordinal=done + 1)
            for ordinal, number, event, happened_at, content, hash in rows:
                if ordinal != done + 1:
                    return Broken(f"link {done + 1} is missing from the chain", ordinal=done + 1)
                if hash != link_hash(before, ordinal, number, happened_at, event, content):
                    return Broken("its link was altered", number, self._id(number), ordinal)
                before, done = hash, ordinal
            tell(min(done, until))
            await asyncio.sleep(0)
        return None

    async def _verify_entries(self, tell: Callable[[int], None]) -> tuple[int, Broken | None]:
        """How many there are, and the first that is not as it should be."""
        count, last, first = 0, 0, None
        while rows := self._entries(last):
            for row in rows if first is None else ():
                fault = _fault(row)
                if fault is not None and first is None:
                    first = Broken(fault, row[0], row[2], row[-3])
            count, last = count + len(rows), rows[-1][0]
            tell(count)
            await asyncio.sleep(0)
        vanished: Any = self._driver.query(VANISHED, GONE)
        if vanished and (first is None or vanished[0][0] < (first.number or 0)):
            first = Broken("it was removed, and nothing says by whom or why", vanished[0][0], ordinal=vanished[0][1])
        return count, first

    def _entries(self, after: int) -> Any:
        """Rows of content, then whether the typed columns agree, and the last link of each: ordinal, event, digest."""
        return self._driver.query(ENTRIES, [after])

    def _has(self, head: str) -> bool:
        hash = bytes.fromhex(head)
        return hash == START or bool(self._driver.query("SELECT 1 FROM witness_chain WHERE hash = ?", [hash]))

    def _id(self, number: int) -> str | None:
        rows = self._driver.query("SELECT id FROM records WHERE number = ?", [number])
        return str(rows[0][0]) if rows else None


def digest(salt: bytes, *content: Any) -> bytes:
    """32 bytes of an entry's salt, id, text, metadata, created_at, query embedding and response embedding."""
    return hashlib.sha256(b"".join(map(_packed, (salt, *content)))).digest()


def link_hash(before: bytes, ordinal: int, number: int, happened_at: int, event: str, content: bytes) -> bytes:
    return hashlib.sha256(before + struct.pack("<qqq", ordinal, number, happened_at) + _packed(event) + content).digest()


def _packed(part: Any) -> bytes:
    if part is None:
        return NONE
    raw = part if isinstance(part, bytes) else str(part).encode()
    return struct.pack("<I", len(raw)) + raw


def _fault(row: Any) -> str | None:
    """What is wrong with an entry, in words."""
    *content, agrees, _, event, expected = row
    if event is None:
        return "it was added without being recorded"
    if event in GONE:
        return f"it is there, though the chain says that it was {event}"
    if digest(*content[1:]) != expected:
        return "it was altered after it was recorded"
    return None if agrees else "its columns do not say what its record says"


def _is_hash(text: str) -> bool:
    return isinstance(text, str) and len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)
