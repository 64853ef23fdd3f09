"""Which bytes of a region are free: holes by place and by size, first fit or best fit.

Sizes are rounded up to classes, at most 1/32 apart, so that what one page leaves another takes; every start is a multiple of 256.
"""

from bisect import bisect_left, insort

from ..errors import ConfigError

UNIT = 256  # bytes
FITS = ("best", "first")


def rounded(size: int) -> int:
    """Bytes of the class that a block of so many bytes is of."""
    units = max(-(-size // UNIT), 1)
    step = 1 << max(units.bit_length() - 6, 0)
    return -(-units // step) * step * UNIT


class Region:
    """size: bytes, rounded down to units. fit: "best" takes the smallest hole that is large enough, "first" the one that comes first."""

    def __init__(self, size: int, fit: str = "best") -> None:
        if fit not in FITS:
            raise ConfigError(f"fit is {fit!r}; one of {', '.join(FITS)} would be right")
        self.size, self.fit = size // UNIT * UNIT, fit
        self.free = self.size
        self.touched = 0  # bytes from the beginning that were ever taken
        self._lengths: dict[int, int] = {}  # of holes, by start
        self._starts: list[int] = []  # ascending
        self._sizes: list[tuple[int, int]] = []  # (length, start), ascending
        if self.size:
            self._add(0, self.size)

    def __repr__(self) -> str:
        return f"<Region {self.size} bytes, {self.free} free in {len(self._starts)} holes>"

    @property
    def used(self) -> int:
        return self.size - self.free

    @property
    def largest(self) -> int:
        """Bytes of the largest hole."""
        return self._sizes[-1][0] if self._sizes else 0

    @property
    def fragmentation(self) -> float:
        """The part of what is free that does not lie in the largest hole, 0 ... 1."""
        return 1 - self.largest / self.free if self.free else 0.0

    @property
    def holes(self) -> list[tuple[int, int]]:
        """(start, length), ascending."""
        return [(start, self._lengths[start]) for start in self._starts]

    def occupancy(self, cells: int) -> list[float]:
        """How full each of that many equal parts of what was ever touched is, 0 ... 1; empty where nothing was."""
        if not self.touched:
            return []
        cell = self.touched / cells
        full = [1.0] * cells
        for start, length in self.holes:
            end = min(start + length, self.touched)
            for at in range(int(start / cell), min(int(end / cell) + 1, cells) if start < end else 0):
                full[at] -= max(min(end, (at + 1) * cell) - max(start, at * cell), 0) / cell
        return [min(max(round(part, 3), 0.0), 1.0) for part in full]

    def take(self, size: int) -> int | None:
        """The start of a block of ``rounded(size)`` bytes; None where no hole is large enough."""
        size = rounded(size)
        start = self._best(size) if self.fit == "best" else next((at for at in self._starts if self._lengths[at] >= size), None)
        if start is None:
            return None
        length = self._remove(start)
        if length > size:
            self._add(start + size, length - size)
        self.free -= size
        self.touched = max(self.touched, start + size)
        return start

    def give(self, start: int, size: int) -> None:
        """Gives a block back; it grows together with the holes beside it. size: what was asked for."""
        size = rounded(size)
        at = bisect_left(self._starts, start)
        after = self._starts[at] if at < len(self._starts) else self.size
        before = self._starts[at - 1] if at else 0
        end = before + self._lengths[before] if at else 0
        if start + size > after or start < end:
            raise ConfigError(f"{size} bytes at {start} are free already; a block is given back once")
        self.free += size
        if at < len(self._starts) and start + size == after:
            size += self._remove(after)
        if at and end == start:
            size += self._remove(before)
            start = before
        self._add(start, size)

    def _best(self, size: int) -> int | None:
        at = bisect_left(self._sizes, (size, -1))
        return self._sizes[at][1] if at < len(self._sizes) else None

    def _add(self, start: int, length: int) -> None:
        self._lengths[start] = length
        insort(self._starts, start)
        insort(self._sizes, (length, start))

    def _remove(self, start: int) -> int:
        length = self._lengths.pop(start)
        del self._starts[bisect_left(self._starts, start)]
        del self._sizes[bisect_left(self._sizes, (length, start))]
        return length
