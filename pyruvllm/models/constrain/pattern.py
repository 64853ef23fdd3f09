"""Regular expressions as JSON Schema's ``pattern`` has them (ECMA-262), as expressions over the bytes of a JSON string.

Each character has one form there: itself, or its escape where it has to have one. Refused by name: looking around, references back,
word boundaries, classes by property, and anchors elsewhere than at the ends.
"""

import json
from typing import NoReturn

from ...errors import ConfigError
from .expression import Grammar, Node, of_code_points

Spans = list[tuple[int, int]]  # of code points, both ends included
TOP = 0x10FFFF
DIGIT: Spans = [(0x30, 0x39)]
WORD: Spans = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
SPACE: Spans = [
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F)),
    *((0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
]
LINE_ENDS: Spans = [(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]
CONTROLS = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B, "0": 0x00}
MOST = 1000  # of a repetition


def complement(spans: Spans) -> Spans:
    found, start = [], 0
    for low, high in sorted(spans):
        if start < low:
            found.append((start, low - 1))
        start = max(start, high + 1)
    return [*found, (start, TOP)] if start <= TOP else found


def character(grammar: Grammar, spans: Spans, ascii: bool = False) -> Node:
    """One character of a JSON string, in its one form."""
    plain, escaped = [], []
    for low, high in spans:
        for first, last in ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7F if ascii else TOP)):
            if max(low, first) <= min(high, last):
                plain.append((max(low, first), min(high, last)))
        for point in (*range(0x20), 0x22, 0x5C):
            if low <= point <= high:
                escaped.append(grammar.literal(json.dumps(chr(point))[1:-1].encode()))
    return grammar.alt(of_code_points(grammar, plain), *escaped)


def pattern(grammar: Grammar, text: str, ascii: bool = False) -> Node:
    """What stands between the quotes of a JSON string in which the pattern is found. ConfigError for what is not understood."""
    return _Reader(grammar, text, ascii).read()


class _Reader:
    def __init__(self, grammar: Grammar, text: str, ascii: bool) -> None:
        self._grammar, self._text, self._at, self._ascii = grammar, text, 0, ascii
        self._any = character(grammar, [(0, TOP)], ascii)

    def read(self) -> Node:
        grammar, found, around = self._grammar, [], self._grammar.many(self._any)
        while True:
            begins = self._take("^")
            inner = self._sequence()
            ends = self._take("$")
            found.append(grammar.seq(grammar.empty if begins else around, inner, grammar.empty if ends else around))
            if self._at == len(self._text):
                return grammar.alt(*found)
            if not self._take("|"):
                self._refuse(f"{self._text[self._at]!r} at {self._at}")

    def _sequence(self) -> Node:
        parts = []
        while self._at < len(self._text) and self._text[self._at] not in "|)$":
            parts.append(self._repeated(self._atom()))
        return self._grammar.seq(*parts)

    def _group(self) -> Node:
        if self._take("?"):
            if self._take("<") and self._peek() not in ("=", "!"):
                while self._next("a group that is named and does not go on") != ">":
                    pass
            elif not self._take(":"):
                self._refuse(f"looking around, '(?{self._peek()}', at {self._at}")
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        if not self._take(")"):
            self._refuse("an anchor inside of a group" if self._peek() in ("$", "^") else "a group that does not end")
        return self._grammar.alt(*found)

    def _atom(self) -> Node:
        letter = self._next("nothing")
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._character(self._class())
        if letter == ".":
            return self._character(complement(LINE_ENDS))
        if letter == "\\":
            return self._character(self._escape())
        if letter in "^*+?{":
            self._refuse(f"{letter!r} at {self._at - 1}")
        return self._character([(ord(letter), ord(letter))])

    def _character(self, spans: Spans) -> Node:
        return character(self._grammar, spans, self._ascii)

    def _repeated(self, part: Node) -> Node:
        while (sign := self._peek()) and sign in "*+?{":
            self._at += 1
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(sign) or self._counts()
            part = self._grammar.many(part, low, high)
            self._take("?")  # lazy or not, it is the same language
        return part

    def _counts(self) -> tuple[int, int | None]:
        end = self._text.find("}", self._at)
        inside, self._at = self._text[self._at : end if end >= 0 else None], end + 1
        low, comma, high = inside.partition(",")
        if end < 0 or not low.isdecimal() or not (high.isdecimal() or (comma and not high) or not comma):
            self._refuse(f"the repetition {{{inside}}}")
        most = int(high) if high else None if comma else int(low)
        if max(int(low), most or 0) > MOST or (most is not None and most < int(low)):
            self._refuse(f"the repetition {{{inside}}}; up to {MOST} are understood")
        return int(low), most

    def _class(self) -> Spans:
        other = self._take("^")
        spans: Spans = []
        while (letter := self._next("a class that does not end")) != "]":
            first = self._escape(True) if letter == "\\" else [(ord(letter), ord(letter))]
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                letter = self._next("a class that does not end")
                last = self._escape(True) if letter == "\\" else [(ord(letter), ord(letter))]
                if len(first) > 1 or len(last) > 1 or first[0][0] != first[0][1] or last[0][0] != last[0][1] or first[0][0] > last[0][0]:
                    self._refuse(f"the range that ends at {self._at}")
                first = [(first[0][0], last[0][0])]
            spans += first
        return complement(spans) if other else spans

    def _escape(self, inside: bool = False) -> Spans:
        letter = self._next("a backslash at the end")
        if (classes := {"d": DIGIT, "w": WORD, "s": SPACE}.get(letter.lower())) is not None:
            return classes if letter.islower() else complement(classes)
        if letter in CONTROLS and not (letter == "0" and self._peek().isdecimal()):
            return [(CONTROLS[letter], CONTROLS[letter])]
        if inside and letter == "b":
            return [(8, 8)]
        if letter in "xu":
            size = 2 if letter == "x" else 4
            digits, self._at = self._text[self._at : self._at + size], self._at + size
            try:
                point = int(digits, 16) if len(digits) == size else -1
            except ValueError:
                point = -1
            if point < 0 or 0xD800 <= point < 0xE000:
                self._refuse(f"\\{letter}{digits}")
            return [(point, point)]
        if letter.isalnum():
            self._refuse(f"\\{letter}")
        return [(ord(letter), ord(letter))]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, letter: str) -> bool:
        found = self._peek() == letter
        self._at += found
        return found

    def _next(self, missing: str) -> str:
        letter = self._peek()
        if not letter:
            self._refuse(missing)
        self._at += 1
        return letter

    def _refuse(self, what: str) -> NoReturn:
        raise ConfigError(f"pattern {self._text!r}: {what} is not understood")
