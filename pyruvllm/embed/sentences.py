"""Where sentences begin and end in prose, Markdown and notes.

A sentence ends at its stop when what follows looks like a beginning; at every blank line; and around lines that stand alone: headings,
list items, table rows, rules, fences. Code between fences is taken line by line. Line breaks inside
a paragraph end nothing.
"""

import re

# never the end: a name or an example follows
TITLES = frozenset("mr mrs ms mx dr prof rev hon sr sra st lt sgt capt cf vs e.g i.e z.b d.h bzw approx hr fr mme mlle eds".split())
# never the end before a figure
NUMBERED = frozenset("fig figs eq eqs sec ch vol vols no nos nr p pp art col v ca".split())
# the end only if a sentence seems to begin: they also stand inside one
SHORTENED = frozenset(
    "al etc inc ltd co corp bros dept est jr u.s u.k e.u u.n a.m p.m b.c a.d ph.d m.d b.a m.a jan feb mar apr jun jul aug sep sept oct nov "
    "dec mon tue wed thu fri sat sun min max hrs mins secs usw".split()
)
CLOSING = "\"'”’»)]}*_`"
OPENING = "\"'“‘„«([{*_`¿¡"
STOPS = re.compile(rf"[.!?…؟।]+[{re.escape(CLOSING)}]*(?=\s)|[。！？｡]+[”’」』）〉》]*")
LINE = re.compile(r"[^\n]*\n?")
HEADING = re.compile(r" {0,3}#{1,6}(?:\s|$)")
UNDERLINE = re.compile(r" {0,3}(?:=+|-{3,})\s*$")  # makes a heading of the line above
ITEM = re.compile(r"\s*(?:[-*+•–]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
ROW = re.compile(r"\s*\|")
RULE = re.compile(r" {0,3}(?:[-=*_] *){2,}\s*$")
FENCE = re.compile(r" {0,3}(?:```|~~~)")
LAST_WORD = re.compile(r"[^\s\"'“‘„«(\[{]*$")


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each, in order, without the white space around; together they hold everything else."""
    found = []
    for start, end, whole in stretches(text):
        found.extend([trimmed(text, start, end)] if whole else split(text, start, end))
    return found


def below_headings(text: str) -> int:
    """Where the text under the headings begins that a passage begins with; 0 where there is none under them."""
    under, before = 0, False  # before: the line above is text, and a heading if this one underlines it
    for match in LINE.finditer(text):
        line = match[0]
        heading = UNDERLINE.match(line) if before else HEADING.match(line) or not line.strip()
        if heading:
            under, before = match.end(), False
        elif before:
            break
        else:
            before = True
    return under if text[under:].strip() else 0


def stretches(text: str) -> list[tuple[int, int, bool]]:
    """Runs of lines that no sentence crosses the border of. True: one line, not to be split further; False: a paragraph or list item."""
    runs: list[tuple[int, int, bool]] = []
    begun = None  # where the paragraph or list item that is open began
    fenced = False
    for match in LINE.finditer(text):
        line, start, end = match[0], match.start(), match.end()
        fence = FENCE.match(line) is not None
        alone = fenced or fence or HEADING.match(line) or ROW.match(line) or RULE.match(line)
        if alone or not line.strip() or ITEM.match(line):
            if begun is not None:
                runs.append((begun, start, False))
            begun = None
        if fence:
            fenced = not fenced
        if line.strip() and alone:
            runs.append((start, end, True))
        elif line.strip() and begun is None:
            begun = start
    if begun is not None:
        runs.append((begun, len(text), False))
    return runs


def split(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The sentences of one stretch."""
    found = []
    begin = start
    for match in STOPS.finditer(text, start, end):
        if ends(text, begin, match, end):
            found.append(trimmed(text, begin, match.end()))
            begin = match.end()
    found.append(trimmed(text, begin, end))
    return [span for span in found if span[0] < span[1]]


def ends(text: str, begin: int, stop: re.Match[str], end: int) -> bool:
    """Whether the sentence that began at ``begin`` is over after this stop."""
    mark = stop[0][0]
    if mark in "。！？｡।؟":
        return True
    following = text[stop.end() : end].lstrip()
    if not following:
        return True
    first = following.lstrip(OPENING)[:1]
    if stop[0].rstrip(CLOSING) != ".":  # an exclamation inside a sentence goes on in lower case: "Yahoo! was", "What?" he said.
        return not first.islower()
    if first.islower():
        return False
    word = LAST_WORD.search(text, begin, stop.start())
    before = word[0] if word else ""
    if before.lower() in TITLES or before.lower() in NUMBERED and first.isdigit():
        return False
    if before.isdigit() and not text[begin : stop.start() - len(before)].strip(OPENING + " \n"):
        return False  # "2. Bicycles" at the beginning of a sentence
    if len(before) == 1 and before.isupper() and before != "I":
        return False  # an initial: "J. Smith"
    return first.isupper() if before.lower() in SHORTENED else True


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The same span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
