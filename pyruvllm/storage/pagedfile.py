"""The database file of a sealed memory, held in memory in extents, which remembers the pages that were written.

The twin of ``web/src/bridge/pagedfile.ts``.
"""

from collections.abc import Iterable

PAGE = 4096  # bytes; the unit in which changes are tracked and logged
EXTENT = 256 * 1024  # bytes; the unit in which the base image is kept


class PagedFile:
    def __init__(self, image: bytes = b"") -> None:
        self.size = 0  # bytes
        self._extents: dict[int, bytearray] = {}
        self._dirty: set[int] = set()
        self.write(0, image)

    def extent(self, number: int) -> bytearray:
        """The bytes of one extent, zeros if nothing was written there yet; live, not a copy."""
        found = self._extents.get(number)
        if found is None:
            found = self._extents[number] = bytearray(EXTENT)
        return found

    @property
    def extent_count(self) -> int:
        return -(-self.size // EXTENT)

    def page(self, number: int) -> bytearray:
        """A copy of one page."""
        extent, start = divmod(number * PAGE, EXTENT)
        return self.extent(extent)[start : start + PAGE]

    def read(self, start: int, count: int) -> bytes:
        """Up to ``count`` bytes: fewer at the end of the file."""
        count = max(0, min(count, self.size - start))
        extent, offset = divmod(start, EXTENT)
        if offset + count <= EXTENT:
            return bytes(memoryview(self.extent(extent))[offset : offset + count])
        first = EXTENT - offset
        return self.read(start, first) + self.read(start + first, count - first)

    def write(self, start: int, content: bytes) -> None:
        view, done = memoryview(content), 0
        while done < len(view):
            extent, offset = divmod(start + done, EXTENT)
            count = min(EXTENT - offset, len(view) - done)
            self.extent(extent)[offset : offset + count] = view[done : done + count]
            done += count
        self.size = max(self.size, start + len(view))
        self._dirty.update(range(start // PAGE, -(-(start + len(view)) // PAGE)))

    def truncate(self, size: int) -> None:
        self.size = min(self.size, size)

    def take_dirty(self) -> list[int]:
        """The pages of the file that were written since the last call, in order."""
        pages = sorted(page for page in self._dirty if page * PAGE < self.size)
        self._dirty = set()
        return pages

    def mark_dirty(self, pages: Iterable[int]) -> None:
        """Gives back pages that did not reach the disk."""
        self._dirty.update(pages)

    def image(self) -> bytes:
        """A copy of the whole file."""
        return b"".join(self.read(number * EXTENT, EXTENT) for number in range(self.extent_count))

    def wipe(self) -> None:
        """Overwrites the contents, which nobody may use any more."""
        for extent in self._extents.values():
            extent[:] = bytes(EXTENT)
        self._extents, self._dirty, self.size = {}, set(), 0
