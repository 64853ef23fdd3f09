"""Long text as passages: whole sentences, as many as fit, each passage beginning with the last sentences of the one before it.

A Markdown heading begins a new passage, and every passage knows its heading. Within a section a passage rather ends at a paragraph's
end, when it is more than half full, than in the middle of the next paragraph. Only a sentence that is too long by itself is cut,
between words; only a word that is too long, inside.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass

from ..config import ChunkConfig
from ..errors import ConfigError
from .embedder import Embedder
from .sentences import FENCE, HEADING, LINE, UNDERLINE, sentences, trimmed

LEAST_SIZE = 8  # tokens: any one character fits


@dataclass(frozen=True)
class Chunk:
    """A passage: ``text`` is the whole text from ``start`` to ``end``, in characters. ``heading`` is the nearest above it, or empty."""

    start: int
    end: int
    text: str
    heading: str


@dataclass(frozen=True)
class Piece:
    """A sentence, or a part of one that was too long. ``size`` in tokens; ``fresh``: the first of a paragraph."""

    start: int
    end: int
    size: int
    fresh: bool


def chunks(text: str, embedder: Embedder, config: ChunkConfig | None = None) -> list[Chunk]:
    """All of ``text`` but white space, in order. No chunk has more than ``config.size`` tokens; text without words has no chunks."""
    config = config or ChunkConfig()
    if config.size < LEAST_SIZE or not 0 <= config.overlap <= config.size // 2:
        raise ConfigError(
            f"size {config.size} and overlap {config.overlap} cannot work: size is at least {LEAST_SIZE}, overlap 0 to half of size"
        )
    ruler = Ruler(text, embedder)
    found = []
    for start, end, heading in sections(text):
        pieces = measured(ruler, start, end, config)
        for first, last in packed(ruler, pieces, config):
            found.append(Chunk(pieces[first].start, pieces[last].end, text[pieces[first].start : pieces[last].end], heading))
    return found


class Ruler:
    """Measures stretches of one text in tokens."""

    def __init__(self, text: str, embedder: Embedder):
        self.text = text
        self.spans = embedder.spans(text)
        self._embedder = embedder
        self._starts = [start for start, _ in self.spans]

    def place(self, position: int) -> int:
        """The first token that begins at or after a position."""
        return bisect_left(self._starts, position)

    def size(self, start: int, end: int) -> int:
        """Tokens of a stretch by itself, also where it begins or ends inside a word."""
        return self._embedder.count(self.text[start:end])


def sections(text: str) -> list[tuple[int, int, str]]:
    """(start, end, heading): the text cut before each heading that has something under it; headings in a row stay together."""
    marks: list[tuple[int, int, str]] = []  # (start, end of the heading, its words)
    fenced = False
    blank = True  # the line above is
    before: re.Match[str] | None = None  # the line above, if underlining makes it a heading
    for match in LINE.finditer(text):
        line = match[0]
        if FENCE.match(line):
            fenced = not fenced
        if fenced or not line.strip():
            before = None
        elif HEADING.match(line):
            marks.append((match.start(), match.end(), line.strip().strip("#").strip()))
            before = None
        elif before and UNDERLINE.match(line):
            marks.append((before.start(), match.end(), before[0].strip()))
            before = None
        else:
            before = match if blank else None
        blank = not line.strip()
    cuts = [(0, "")]
    open_until = None  # where the last heading ended
    for start, end, words in marks:
        if open_until is not None and not text[open_until:start].strip():
            cuts[-1] = (cuts[-1][0], words)
        else:
            cuts.append((start, words))
        open_until = end
    ends = [start for start, _ in cuts[1:]] + [len(text)]
    return [(start, end, words) for (start, words), end in zip(cuts, ends, strict=True) if text[start:end].strip()]


def measured(ruler: Ruler, start: int, end: int, config: ChunkConfig) -> list[Piece]:
    """The sentences of a section with their sizes, the overlong ones cut."""
    pieces: list[Piece] = []
    above = start
    for first, last in sentences(ruler.text[start:end]):
        first, last = first + start, last + start
        fresh = ruler.text.count("\n", above, first) > 1
        above = last
        size = ruler.size(first, last)
        lead = pieces[-1].size if pieces and pieces[-1].size <= config.size // 4 else 0  # a heading, say: it shares the first part's chunk
        parts = [(first, last, size)] if size <= config.size else cut(ruler, first, last, config.size, lead)
        pieces.extend(Piece(*part, fresh and not index) for index, part in enumerate(parts))
    return pieces


def cut(ruler: Ruler, start: int, end: int, size: int, lead: int) -> list[tuple[int, int, int]]:
    """(start, end, tokens) of parts that fit, the first with ``lead`` tokens to spare, ending at a line's or a word's end if they can."""
    parts = []
    room = size - lead
    while start < end:
        over = ruler.place(start) + room
        stop = end if over >= len(ruler.spans) else min(end, max(ruler.spans[over][0], start + 1))
        if stop < end:
            line = ruler.text.rfind("\n", start + (stop - start) // 2, stop + 1)
            word = max(ruler.text.rfind(space, start + 1, stop + 1) for space in " \n\t\u3000")
            stop = next((border for border in (line, word) if border > start), stop)
        while (count := ruler.size(start, stop)) > room:
            stop = start + max(1, (stop - start) * room // (count + 1))
        first, last = trimmed(ruler.text, start, stop)
        if first < last:
            parts.append((first, last, count))
        start = stop
        room = size
    return parts


def packed(ruler: Ruler, pieces: list[Piece], config: ChunkConfig) -> list[tuple[int, int]]:
    """(first, last) piece of each chunk of a section."""
    found: list[tuple[int, int]] = []
    new = 0  # the first piece that is in no chunk yet
    while new < len(pieces):
        first = overlapping(pieces, new, found[-1][0] + 1 if found else 0, config)
        last, used = first, pieces[first].size
        while last + 1 < len(pieces) and used + pieces[last + 1].size <= config.size:
            last += 1
            used += pieces[last].size
        if last + 1 < len(pieces):
            last = max(new, paragraph_end(pieces, first, last, config.size))
        while (first, last) != (new, new) and ruler.size(pieces[first].start, pieces[last].end) > config.size:
            first, last = (first, last - 1) if last > new else (new, new)  # parts of one cut word count differently together
        found.append((first, last))
        new = last + 1
    return found


def overlapping(pieces: list[Piece], new: int, floor: int, config: ChunkConfig) -> int:
    """The piece to begin at, so that whole sentences of up to ``overlap`` tokens come again before ``new``; not before ``floor``."""
    room = min(config.overlap, config.size - pieces[new].size)
    first = new
    while first > floor and pieces[first - 1].size <= room:
        first -= 1
        room -= pieces[first].size
    return first


def paragraph_end(pieces: list[Piece], first: int, last: int, size: int) -> int:
    """The last piece of the last whole paragraph, if the chunk is more than half full with it; else ``last``."""
    used = sum(piece.size for piece in pieces[first : last + 1])
    for place in range(last, first - 1, -1):
        if used * 2 <= size:
            break
        if pieces[place + 1].fresh:
            return place
        used -= pieces[place].size
    return last
