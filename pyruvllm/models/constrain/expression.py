"""Languages of bytes as expressions, and what is left of one after a byte: its derivative.

Brzozowski 1964; Owens, Reppy and Turon 2009, Regular-expression derivatives re-examined. Named expressions may refer to each other, which
makes more than regular languages; what follows an inner value then is part of the expression, as a stack would have it.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from ...errors import ConfigError

ALL = (1 << 256) - 1  # a set of bytes is a number with a bit for each
SEARCHED = 50_000  # expressions that are looked at to find the shortest word of an intersection


class Node:
    """Equal expressions of a grammar are one object."""

    __slots__ = ("kind", "parts", "low", "high", "nullable", "number", "after", "least")

    def __init__(self, kind: str, parts: tuple, low: int, high: int | None, nullable: bool, number: int) -> None:
        self.kind, self.parts, self.low, self.high, self.nullable, self.number = kind, parts, low, high, nullable, number
        self.after: dict[int, Node] = {}  # derivatives by byte
        self.least: int | None | bool = False  # bytes of the shortest word, None where there is no word; False: not known


class Grammar:
    """Makes expressions. ``names``: what the named ones stand for; none of these may hold the empty word."""

    def __init__(self) -> None:
        self._nodes: dict[tuple, Node] = {}
        self.names: dict[str, Node] = {}
        self._shortest: dict[str, int] = {}
        self.none, self.empty = self._node("bytes", (0,)), self._node("empty", (), nullable=True)

    def bytes(self, mask: int) -> Node:
        """One byte of a set."""
        return self._node("bytes", (mask,))

    def span(self, low: int, high: int) -> Node:
        return self.bytes(_span(low, high))

    def any_of(self, text: bytes) -> Node:
        return self.bytes(sum(1 << byte for byte in set(text)))

    def literal(self, text: bytes) -> Node:
        return self.seq(*(self.bytes(1 << byte) for byte in text))

    def name(self, name: str) -> Node:
        return self._node("name", (name,))

    def seq(self, *parts: Node) -> Node:
        whole = self.empty
        for part in reversed(parts):
            whole = self._pair(part, whole)
        return whole

    def _pair(self, first: Node, rest: Node) -> Node:
        if first is self.none or rest is self.none:
            return self.none
        if first is self.empty or rest is self.empty:
            return rest if first is self.empty else first
        if first.kind == "seq":
            return self._pair(first.parts[0], self._pair(first.parts[1], rest))
        return self._node("seq", (first, rest), nullable=first.nullable and rest.nullable)

    def alt(self, *parts: Node) -> Node:
        mask, others = 0, {}
        for part in parts:
            for each in part.parts if part.kind == "alt" else (part,):
                if each.kind == "bytes":
                    mask |= each.parts[0]
                else:
                    others[each.number] = each
        found = [self.bytes(mask)] if mask else []
        found += [others[number] for number in sorted(others)]
        if len(found) < 2:
            return found[0] if found else self.none
        return self._node("alt", tuple(found), nullable=any(each.nullable for each in found))

    def both(self, one: Node, other: Node) -> Node:
        """Words of both."""
        if one is other or self.none in (one, other):
            return one if one is other else self.none
        if one.number > other.number:
            one, other = other, one
        return self._node("both", (one, other), nullable=one.nullable and other.nullable)

    def no(self, part: Node) -> Node:
        """Words that are none of it."""
        return part.parts[0] if part.kind == "not" else self._node("not", (part,), nullable=not part.nullable)

    def many(self, part: Node, low: int = 0, high: int | None = None) -> Node:
        low = 0 if part.nullable else low
        if high == 0 or part in (self.none, self.empty):
            return self.none if low and part is self.none else self.empty
        if (low, high) == (1, 1):
            return part
        return self._node("many", (part,), low, high, nullable=low == 0)

    def maybe(self, part: Node) -> Node:
        return self.alt(self.empty, part)

    def _node(self, kind: str, parts: tuple, low: int = 0, high: int | None = None, *, nullable: bool = False) -> Node:
        key = (kind, tuple(part.number if isinstance(part, Node) else part for part in parts), low, high)
        if key not in self._nodes:
            self._nodes[key] = Node(kind, parts, low, high, nullable, len(self._nodes))
        return self._nodes[key]

    def after(self, node: Node, byte: int) -> Node:
        """What may follow a byte; ``none`` where the byte cannot be."""
        found = node.after.get(byte)
        if found is None:
            found = node.after[byte] = self._derived(node, byte)
        return found

    def _derived(self, node: Node, byte: int) -> Node:
        kind, parts = node.kind, node.parts
        if kind == "bytes":
            return self.empty if parts[0] >> byte & 1 else self.none
        if kind == "seq":
            first = self._pair(self.after(parts[0], byte), parts[1])
            return self.alt(first, self.after(parts[1], byte)) if parts[0].nullable else first
        if kind == "alt":
            return self.alt(*(self.after(part, byte) for part in parts))
        if kind == "many":
            rest = self.many(parts[0], max(node.low - 1, 0), None if node.high is None else node.high - 1)
            return self._pair(self.after(parts[0], byte), rest)
        if kind == "name":
            return self.after(self.names[parts[0]], byte)
        if kind == "both":
            return self.both(self.after(parts[0], byte), self.after(parts[1], byte))
        return self.no(self.after(parts[0], byte)) if kind == "not" else self.none

    def classes(self, node: Node) -> list[int]:
        """Sets of bytes after all of which the same follows; what is in none of them cannot be, but in a ``not``."""
        sets = [ALL]
        for mask in dict.fromkeys(self._heads(node)):
            sets = [part for each in sets for part in (each & mask, each & ~mask) if part]
        return sets

    def _heads(self, node: Node) -> Iterator[int]:
        kind, parts = node.kind, node.parts
        if kind == "bytes":
            yield parts[0]
        elif kind == "name":
            yield from self._heads(self.names[parts[0]])
        elif kind == "seq":
            yield from self._heads(parts[0])
            if parts[0].nullable:
                yield from self._heads(parts[1])
        else:
            for part in parts:
                yield from self._heads(part)

    def close(self) -> None:
        """To be called when all names are there. ConfigError for one that begins with itself, or that no finite word is of."""
        for name in self.names:
            self._check(name, self.names[name], (name,))
        changed = True
        while changed:
            changed = False
            for name, node in self.names.items():
                length = self._bound(node)
                if length is not None and length < self._shortest.get(name, length + 1):
                    self._shortest[name], changed = length, True
        for name in self.names:
            if name not in self._shortest:
                raise ConfigError(f"the schema at {name!r} has no value that ends")

    def _check(self, name: str, node: Node, seen: tuple[str, ...]) -> None:
        if node.kind == "name":
            if node.parts[0] in seen:
                raise ConfigError(f"the schema at {name!r} is itself and nothing else")
            self._check(name, self.names[node.parts[0]], (*seen, node.parts[0]))
        elif node.kind == "seq":
            self._check(name, node.parts[0], seen)
        elif node.kind not in ("bytes", "empty"):
            for part in node.parts:
                self._check(name, part, seen)

    def _bound(self, node: Node) -> int | None:
        """As ``least`` while names are still being measured: too long where a shorter word comes to be known later."""
        if node.kind == "name":
            return self._shortest.get(node.parts[0])
        if node.kind in ("seq", "alt", "many"):
            return self._combined(node, [self._bound(part) for part in node.parts])
        return self.least(node)

    def least(self, node: Node) -> int | None:
        """Bytes of the shortest word; None where there is none."""
        if node.least is False:
            if node.kind == "bytes":
                node.least = 1 if node.parts[0] else None
            elif node.kind == "name":
                node.least = self._shortest[node.parts[0]]
            elif node.nullable:
                node.least = 0
            elif node.kind in ("both", "not"):
                self._search(node)
            else:
                node.least = self._combined(node, [self.least(part) for part in node.parts])
        return node.least

    @staticmethod
    def _combined(node: Node, lengths: list[int | None]) -> int | None:
        if node.nullable:
            return 0
        if node.kind == "alt":
            return min((length for length in lengths if length is not None), default=None)
        if None in lengths:
            return None
        return sum(lengths) * (node.low if node.kind == "many" else 1)  # type: ignore[arg-type]

    def _search(self, start: Node) -> None:
        """Breadth first through derivatives, to the nearest that is known to end; those on the way to it are known then."""
        before: dict[Node, Node | None] = {start: None}
        level, depth, found, best = [start], 0, None, None
        while level and (best is None or depth < best):
            following = []
            for node in level:
                known = node is not start and (node.nullable or node.least is not False or node.kind not in ("both", "not"))
                length = self.least(node) if known else False
                if length is not False:
                    if length is not None and (best is None or depth + length < best):
                        best, found = depth + length, node
                    continue
                for mask in self.classes(node):
                    child = self.after(node, (mask & -mask).bit_length() - 1)
                    if child is not self.none and child not in before:
                        before[child] = node
                        following.append(child)
                if len(before) > SEARCHED:
                    raise ConfigError("a pattern and the lengths beside it are too much to be worked out; a simpler pattern would be right")
            level, depth = following, depth + 1
        if best is None:
            for node in before:
                node.least = None
            return
        length = 0 if found.nullable else found.least  # type: ignore[union-attr]
        while found is not None:
            found.least, length, found = length, length + 1, before[found]


@lru_cache(4096)
def _span(low: int, high: int) -> int:
    return (1 << high + 1) - (1 << low)


def members(mask: int) -> list[int]:
    return [byte for byte in range(256) if mask >> byte & 1]


def of_code_points(grammar: Grammar, spans: Iterable[tuple[int, int]]) -> Node:
    """UTF-8 of one character whose code point lies in one of the spans; surrogates are left out."""
    return grammar.alt(*(sequence for low, high in spans for sequence in _utf8(grammar, low, high)))


def _utf8(grammar: Grammar, low: int, high: int) -> Iterator[Node]:
    for first, last, size in ((0, 0x7F, 1), (0x80, 0x7FF, 2), (0x800, 0xD7FF, 3), (0xE000, 0xFFFF, 3), (0x10000, 0x10FFFF, 4)):
        start, end = max(low, first), min(high, last)
        if start <= end:
            yield from _sequences(grammar, list(_encoded(start, size)), list(_encoded(end, size)))


def _encoded(point: int, size: int) -> bytes:
    return chr(point).encode() if size > 1 else bytes([point])


def _sequences(grammar: Grammar, low: list[int], high: list[int]) -> Iterator[Node]:
    """Between two sequences of one length, both included."""
    if low[0] == high[0] or len(low) == 1:
        rest = _sequences(grammar, low[1:], high[1:]) if len(low) > 1 else iter((grammar.empty,))
        head = grammar.span(low[0], high[0])
        yield from (grammar.seq(head, each) for each in rest)
        return
    tail = len(low) - 1
    if any(byte != 0x80 for byte in low[1:]):
        yield from _sequences(grammar, low, [low[0]] + [0xBF] * tail)
        low = [low[0] + 1] + [0x80] * tail
    ends = [] if all(byte == 0xBF for byte in high[1:]) else list(_sequences(grammar, [high[0]] + [0x80] * tail, high))
    top = high[0] - (1 if ends else 0)
    if low[0] <= top:
        yield grammar.seq(grammar.span(low[0], top), *[grammar.span(0x80, 0xBF)] * tail)
    yield from ends
