"""A collection: records of one kind in one embedding space, with the indexes over them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..embed.space import Space
from ..errors import ConfigError, SpaceError
from .fulltext import FullText
from .index import VectorIndex


@dataclass(slots=True)
class Change:
    """What a write means for the indexes: the record is gone, or it now has this vector and these words."""

    collection: str
    number: int
    gone: bool = False
    vector: np.ndarray | None = None  # (dimension,) float32
    words: bytes = b""
    vectors: int = 0  # how many more vectors the collection has by this change: -1, 0 or 1
    checksum: int = 0  # and how much more the sum of their checksums is


class Collection:
    """``space`` is None until something was written to it; then vectors of another space are refused."""

    def __init__(self, name: str, space: str | None, dimension: int, index: VectorIndex):
        self.name, self.space, self.dimension, self.index = name, space, dimension, index
        self.fulltext = FullText()
        self.vectors, self.checksum = 0, 0  # of the rows that the index stands for

    def __len__(self) -> int:
        return len(self.fulltext)

    def __repr__(self) -> str:
        return f"Collection({self.name!r}, space={self.space!r}, records={len(self)}, index={self.index.kind!r})"

    def stats(self) -> dict[str, Any]:
        """index: "exact" or "hnsw"; codec: how it keeps vectors; unsettled: vectors that a graph has yet to take in or let go;
        growing: (done, of how many) of a graph that is being built, or None; crossing: above how many vectors a graph is faster here.
        """
        index = self.index
        return {
            "vectors": self.vectors,
            "space": self.space,
            "index": index.kind,
            "codec": index.codec,
            "unsettled": index.unsettled,
            "growing": index.growth,
            "crossing": index.crossing.at(),
        }

    def apply(self, changes: Iterable[Change]) -> None:
        """Brings the indexes up to date. Of several changes of one record the last counts."""
        changes = list(changes)
        self.vectors += sum(change.vectors for change in changes)
        self.checksum += sum(change.checksum for change in changes)
        last = {change.number: change for change in changes}
        kept = [change for change in last.values() if not change.gone]
        known = [number for number in last if number <= self.fulltext.newest]  # numbers only rise: what is above is new
        self.index.remove(known)
        self.fulltext.remove(known)
        placed = [change for change in kept if change.vector is not None]
        if placed:
            self.index.add([change.number for change in placed], np.stack([change.vector for change in placed]))  # type: ignore[misc]
        if kept:
            self.fulltext.add([change.number for change in kept], [change.words for change in kept])


def check_space(name: str, recorded: str | None, space: Space) -> None:
    """Raises SpaceError when a collection is of another space than the one that asks."""
    if recorded is not None and recorded != space.key:
        raise SpaceError(
            f"collection {name!r} holds vectors of {recorded}, this is {space.key}; "
            f"nothing was changed. `await memory.reembed({name!r})` makes them anew from the stored text"
        )


def check_vector(vector: np.ndarray, dimension: int, what: str) -> np.ndarray:
    """A caller's vector as it is stored: (dimension,) float32 of unit length, each value exact in float16."""
    vector = np.asarray(vector)
    if vector.shape != (dimension,) or vector.dtype.kind not in "fiu":
        raise SpaceError(f"{what} is {vector.dtype} of shape {vector.shape}; expected ({dimension},) float32")
    vector = vector.astype(np.float32)
    length = float(np.sqrt(np.dot(vector, vector)))
    if not np.isfinite(length):
        raise ConfigError(f"{what} holds a NaN or an infinity; every value is a finite number")
    if length == 0:
        raise ConfigError(f"{what} is all zeros, which points nowhere; a vector has a direction")
    if abs(length - 1) > 2e-3:  # rounding to float16 moves a unit vector's length by less
        vector = vector / length
    return vector.astype(np.float16).astype(np.float32)


def check_vectors(
    vectors: Sequence[np.ndarray | None], dimension: int, whats: Sequence[str]
) -> list[tuple[np.ndarray, bytes] | tuple[None, None]]:
    """The same for many: each as ``check_vector`` gives it, and as its bytes in float16; None for None."""
    places = [place for place, vector in enumerate(vectors) if vector is not None]
    given = [np.asarray(vectors[place]) for place in places]
    if any(vector.shape != (dimension,) or vector.dtype != np.float32 for vector in given):
        given = [check_vector(vector, dimension, whats[place]) for place, vector in zip(places, given, strict=True)]
    rows = np.stack(given) if given else np.empty((0, dimension), np.float32)
    for at in np.flatnonzero(~(np.abs(np.einsum("ij,ij->i", rows, rows) - 1) < 2e-3)):
        rows[at] = check_vector(rows[at], dimension, whats[places[at]])
    halves = rows.astype("<f2")
    rows, raw, size = halves.astype(np.float32), halves.tobytes(), 2 * dimension
    found: list[tuple[np.ndarray, bytes] | tuple[None, None]] = [(None, None)] * len(vectors)
    for at, place in enumerate(places):
        found[place] = rows[at], raw[at * size : at * size + size]
    return found


def check_text(text: object, what: str) -> None:
    """Raises ConfigError for what the database could not give back as it was."""
    if not isinstance(text, str):
        raise ConfigError(f"{what} is a string, not {type(text).__name__}")
    if "\0" in text:
        raise ConfigError(f"{what} has a NUL character at {text.index(chr(0))}; text has none")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{what} is no valid Unicode: half of a surrogate pair at {error.start}") from None
