"""The marks with which an answer names its sources: read from what a model writes, as it writes it."""

import re

MARK = re.compile(r"([ \t]*)\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
OPEN = re.compile(r"[ \t]*(?:\[[\d\s,;]{0,20})?$")  # what may yet become one


class MarkReader:
    """Of the numbers 1 to ``known``. Marks of several, [1, 2], become one each, [1][2]; numbers that name no source are taken out.

    cited: numbers in the order in which they first came; unknown: those that were taken out.
    """

    def __init__(self, known: int) -> None:
        self.cited: list[int] = []
        self.unknown: list[int] = []
        self._known, self._held = known, ""

    def add(self, piece: str) -> str:
        """What can be shown of it and what was held back before."""
        text = self._held + piece
        found = OPEN.search(text)
        at = found.start() if found else len(text)
        self._held = text[at:]
        return MARK.sub(self._read, text[:at])

    def end(self) -> str:
        held, self._held = self._held, ""
        return MARK.sub(self._read, held)

    def _read(self, mark: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", mark[2])]
        for number in numbers:
            kept = self.cited if 1 <= number <= self._known else self.unknown
            if number not in kept:
                kept.append(number)
        shown = "".join(f"[{number}]" for number in dict.fromkeys(numbers) if number in self.cited)
        return mark[1] + shown if shown else ""


def without_marks(text: str) -> str:
    """For a conversation that goes on: the numbers of an earlier answer name other passages than those of the next."""
    return MARK.sub("", text)
