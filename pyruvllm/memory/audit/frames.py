"""The bytes of an archive: frames, each with a hash over itself and all before it, so that a file that is cut or altered shows.

    8 bytes  "RUVWITN1"
    frames   uint32 length of the header, uint32 length of the body (little-endian), header (JSON), body, 32 bytes SHA-256

A hash is of the hash before it (of zeros at first), both lengths, header and body. The first frame's header says
``{"kind": "archive", "id", "made_at", "space"}``, then there is one ``{"kind": "block", "key", "entries"}`` for each block, whose body is
sealed, and at last ``{"kind": "end", "entries"}``. A file is written and read a frame at a time.
"""

import hashlib
import io
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ... import host
from ...errors import ArchiveError

MAGIC = b"RUVWITN1"
SIZES = struct.Struct("<II")
LARGEST = 64 << 20  # bytes of a header or a body: more is no archive
HASH = 32  # bytes

Put = Callable[[bytes], Any]


@contextmanager
def opened(target: str | Path | Put) -> Iterator[Put]:
    """What takes the bytes. A path gets the file when all of it is there and on disk, and nothing before."""
    if not isinstance(target, (str, Path)):
        yield target
        return
    target = Path(target)
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


class Writer:
    def __init__(self, put: Put, head: Mapping[str, Any]):
        self._put, self._hash, self._id = put, bytes(HASH), str(head["id"])
        put(MAGIC)
        self._frame(head, b"")

    async def sealed(self, header: Mapping[str, Any], key: bytes, plain: bytes) -> None:
        """A block, bound to its place in this archive."""
        body = await host.current().seal(key, plain, bound_to(self._id, self._hash, header))
        self._frame(header, body)

    def end(self, header: Mapping[str, Any]) -> bytes:
        """The last frame; returns its hash, which stands for the file."""
        self._frame(header, b"")
        return self._hash

    def _frame(self, header: Mapping[str, Any], body: bytes) -> None:
        text = _text(header)
        head = SIZES.pack(len(text), len(body)) + text
        self._hash = hashlib.sha256(self._hash + head + body).digest()
        self._put(head + body + self._hash)


class Reader:
    """Iterate for (header, body) of each block. ArchiveError where the file is not what was written, as soon as it is met."""

    def __init__(self, source: str | Path | bytes | BinaryIO):
        source = Path(source) if isinstance(source, str) else source
        self.name = source.name if isinstance(source, Path) else "the archive"
        self._file: BinaryIO = _file(source)
        self.total = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        self.bound = b""  # what the block that was read last is bound to
        self._hash = bytes(HASH)
        if self._file.read(len(MAGIC)) != MAGIC:
            self._file.close()
            raise ArchiveError(f"{self.name} is no archive of the witness log: it does not begin with {MAGIC.decode()}")
        self.head, _ = self._frame()
        if self.head.get("kind") != "archive" or not {"id", "made_at"} <= self.head.keys():
            raise ArchiveError(f"{self.name} is no archive of the witness log: its first frame is {self.head}")

    @property
    def done(self) -> int:
        """Bytes read."""
        return self._file.tell()

    def __iter__(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        entries = 0
        with self._file:
            while True:
                before = self._hash
                header, body = self._frame()
                if header.get("kind") == "end":
                    break
                if header.get("kind") != "block" or not {"key", "entries"} <= header.keys():
                    raise ArchiveError(f"{self.name}: a frame of an unknown kind: {header}")
                self.bound = bound_to(self.head["id"], before, header)
                entries += int(header["entries"])
                yield header, body
            if self._file.read(1) or header.get("entries") != entries:
                raise ArchiveError(f"{self.name} does not end where it says: {entries} entries were read")

    def _frame(self) -> tuple[dict[str, Any], bytes]:
        sizes = self._take(SIZES.size)
        header_size, body_size = SIZES.unpack(sizes)
        if max(header_size, body_size) > LARGEST:
            raise ArchiveError(f"{self.name} is damaged: a frame of {max(header_size, body_size)} bytes")
        text, body = self._take(header_size), self._take(body_size)
        self._hash = hashlib.sha256(self._hash + sizes + text + body).digest()
        if self._take(HASH) != self._hash:
            raise ArchiveError(f"{self.name} is damaged: the hash before byte {self._file.tell()} is not that of what was read")
        try:
            header = json.loads(text)
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise ArchiveError(f"{self.name} is damaged: a header is {text[:80]!r}")
        return header, body

    def _take(self, size: int) -> bytes:
        found = self._file.read(size)
        if len(found) < size:
            raise ArchiveError(f"{self.name} is cut off after {self._file.tell()} bytes")
        return found


def _file(source: Path | bytes | BinaryIO) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return source.open("rb") if isinstance(source, Path) else source


def bound_to(id: str, before: bytes, header: Mapping[str, Any]) -> bytes:
    """What the seal of a block holds for beyond its content: the archive, all that stands before it, and its header."""
    return id.encode() + before + _text(header)


def _text(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode()
