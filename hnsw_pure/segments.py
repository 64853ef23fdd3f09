"""An index as named byte segments, each small enough for a database row, and which of them changed.

Slots are cut into runs of 256; each run gives one segment per part: `ids/7`, `vectors/7`, `links/7`. The upper layers are one
segment each: `upper/1`. `head` holds the settings and the checksum of every other segment, so segments of different moments do not
pass for one index. Numbers are little-endian. A segment is a 16-byte frame and its payload:

    0  4s   b"HNSP"
    4  u32  version of this layout
    8  u32  length of the payload, bytes
    12 u32  CRC-32 of the payload
"""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import CorruptSegmentError, NewerSegmentError

RUN = 256  # slots a segment
VERSION = 1
HEAD = "head"
_MAGIC = b"HNSP"
_FRAME = struct.Struct("<4sIII")
_ENTRY = struct.Struct("<II")  # in a file, before each segment: bytes of its name, bytes of the segment


@dataclass(frozen=True)
class Changes:
    """What a store must do to hold the index as it is now: write these segments, remove those names."""

    written: dict[str, bytes]
    removed: tuple[str, ...]


class Ledger:
    """Which segments changed since they were last saved.

    touched    changed since the last `hand_out`
    handed     handed out to be written, but not yet known to be saved
    saved      names that the store has
    checksums  of segments as they are now, where known
    """

    def __init__(self) -> None:
        self.touched: set[str] = set()
        self.handed: set[str] = set()
        self.names: set[str] = set()
        self.saved: set[str] = set()
        self.checksums: dict[str, int] = {}

    def touch(self, part: str, slots: np.ndarray) -> None:
        """Notes that slots (n,) changed in a part that is cut into runs."""
        for run in np.unique(np.asarray(slots) // RUN).tolist():
            self.touch_name(f"{part}/{run}")

    def touch_name(self, name: str) -> None:
        self.touched.add(name)
        self.checksums.pop(name, None)

    def hand_out(self, names: list[str]) -> tuple[set[str], set[str]]:
        """Given all names of the index now: those to write, and those to remove from the store."""
        self.handed |= self.touched
        self.touched.clear()
        self.names = {HEAD, *names}
        stale = {name for name in names if name in self.handed or name not in self.saved}
        return stale, self.saved - self.names

    def mark_saved(self) -> None:
        self.handed.clear()
        self.saved = self.names


def frame(payload: bytes) -> bytes:
    return _FRAME.pack(_MAGIC, VERSION, len(payload), zlib.crc32(payload)) + payload


def checksum(segment: bytes) -> int:
    """The CRC-32 that a segment's frame states."""
    return _FRAME.unpack_from(segment)[3]


def unframe(name: str, segment: bytes) -> bytes:
    """The payload of a segment. Raises CorruptSegmentError or NewerSegmentError."""
    if len(segment) < _FRAME.size:
        raise CorruptSegmentError(f"segment {name} has {len(segment)} bytes; the frame alone has {_FRAME.size}")
    magic, version, length, stated = _FRAME.unpack_from(segment)
    if magic != _MAGIC:
        raise CorruptSegmentError(f"segment {name} starts with {magic!r}, not {_MAGIC!r}")
    if version > VERSION:
        raise NewerSegmentError(f"segment {name} has layout version {version}; this package reads up to {VERSION}")
    if version < 1:
        raise CorruptSegmentError(f"segment {name} has layout version {version}; the first one was 1")
    payload = bytes(segment[_FRAME.size :])
    if len(payload) != length:
        raise CorruptSegmentError(f"segment {name} has a payload of {len(payload)} bytes; its frame says {length}")
    if zlib.crc32(payload) != stated:
        raise CorruptSegmentError(f"segment {name} fails its checksum")
    return payload


def frame_head(settings: dict, checksums: dict[str, int]) -> bytes:
    """The head: an index's settings (JSON) and the checksums of its other segments."""
    return frame(json.dumps({**settings, "checksums": checksums}, sort_keys=True).encode())


def open_segments(segments: Mapping[str, bytes]) -> tuple[dict, dict[str, bytes]]:
    """Checks a whole set of segments. Returns the settings, and the payloads of all but the head, by name.

    Segments that the head does not name are passed over. Raises CorruptSegmentError, NewerSegmentError.
    """
    if HEAD not in segments:
        raise CorruptSegmentError("the head segment is missing")
    try:
        settings = json.loads(unframe(HEAD, segments[HEAD]))
        checksums = settings.pop("checksums").items()
    except (ValueError, AttributeError, KeyError) as error:
        if isinstance(error, CorruptSegmentError | NewerSegmentError):
            raise
        raise CorruptSegmentError(f"the head segment does not read as settings: {error!r}") from None
    payloads = {}
    for name, expected in checksums:
        if name not in segments:
            raise CorruptSegmentError(f"segment {name} is missing")
        payloads[name] = unframe(name, segments[name])
        if checksum(segments[name]) != expected:
            raise CorruptSegmentError(f"segment {name} is whole, but from another moment than the head")
    return settings, payloads


def pack_lists(table: np.ndarray) -> bytes:
    """Neighbour lists (n, width) int32, padded with -1 at the end, as n lengths (uint16) and the numbers without the padding (int32)."""
    held = table >= 0
    return held.sum(axis=1).astype("<u2").tobytes() + table[held].astype("<i4").tobytes()


def unpack_lists(name: str, payload: bytes, count: int, width: int) -> np.ndarray:
    """The inverse of `pack_lists` for `count` lists, (count, width) int32."""
    lengths = read_array(name, payload[: 2 * count], "<u2", count)
    if count and lengths.max() > width:
        raise CorruptSegmentError(f"segment {name} has a list of {lengths.max()} neighbours; at most {width} fit")
    numbers = read_array(name, payload[2 * count :], "<i4", int(lengths.sum()))
    table = np.full((count, width), -1, np.int32)
    table[np.arange(width) < lengths[:, None]] = numbers
    return table


def read_array(name: str, payload: bytes, dtype: str, count: int) -> np.ndarray:
    """`count` numbers. Raises CorruptSegmentError when the payload holds another number of them."""
    if len(payload) != count * np.dtype(dtype).itemsize:
        raise CorruptSegmentError(f"segment {name} has {len(payload)} bytes where {count} numbers of type {dtype} belong")
    return np.frombuffer(payload, dtype)


def pack_file(segments: Mapping[str, bytes]) -> bytes:
    """All segments in one run of bytes, each after its name."""
    parts = []
    for name, segment in segments.items():
        parts += (_ENTRY.pack(len(name.encode()), len(segment)), name.encode(), segment)
    return b"".join(parts)


def unpack_file(content: bytes) -> dict[str, bytes]:
    """The inverse of `pack_file`. Raises CorruptSegmentError where it is cut short."""
    segments, at = {}, 0
    while at < len(content):
        if at + _ENTRY.size > len(content):
            raise CorruptSegmentError(f"the file ends within an entry at byte {at}")
        name_size, size = _ENTRY.unpack_from(content, at)
        start = at + _ENTRY.size + name_size
        if start + size > len(content):
            raise CorruptSegmentError(f"the file has {len(content)} bytes; a segment at byte {at} needs {start + size}")
        try:
            name = content[at + _ENTRY.size : start].decode()
        except UnicodeDecodeError:
            raise CorruptSegmentError(f"the file has no segment name at byte {at}") from None
        segments[name] = content[start : start + size]
        at = start + size
    return segments
