"""Text as the words that full-text search compares: casefolded, without stop words, lightly stemmed.

Scripts without spaces (Chinese, Japanese, Thai ...) become pairs of neighbouring characters. Stop words and endings are English; other
languages keep all their words as they are.
"""

import re
from functools import lru_cache

STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below between both but by can
    could did do does doing down during each few for from further had has have having he her here hers herself him himself his how i
    if in into is it its itself just let me more most my myself no nor not now of off on once only or other our ours ourselves out
    over own same she should so some such than that the their theirs them themselves then there these they this those through to too
    under until up us very was we were what when where which while who whom why will with would you your yours yourself yourselves
    ain aren couldn d didn doesn don hadn hasn haven isn ll m mightn mustn needn re s shan shouldn t ve wasn weren won wouldn
    """.split()
)

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}]+")
FIRST_UNSPACED = "\u0e00"
VOWEL = re.compile(r"[aeiouy]")


def words(text: str) -> list[tuple[str, str]]:
    """Each word that counts as (term, as it was written), in order. Repeated words are repeated."""
    found = []
    for written in WORD.findall(text):
        word = term(written)
        if word is None:
            pairs = [written[i : i + 2] for i in range(max(1, len(written) - 1))]
            found += [(pair, pair) for pair in pairs]
        elif word:
            found.append((word, written))
    return found


@lru_cache(maxsize=50_000)
def term(written: str) -> str | None:
    """The stem of a word; nothing of a stop word, None of a run of a script without spaces."""
    word = written.casefold()
    if word[0] >= FIRST_UNSPACED and re.match(f"[{UNSPACED}]", word):
        return None
    return "" if word in STOP_WORDS else stem(word)


def stem(word: str) -> str:
    """One word without its plural, -ing, -ed or -ly, and with y as i: enough that "cities" meets "city" and "planned" meets "plan"."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    word = _undouble_e(_without_past(_without_plural(word)))
    return word[:-1] + "i" if word[-1] == "y" and len(word) > 2 and word[-2] not in "aeiou" else word


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_past(word: str) -> str:
    """Drops -ing and -ed where a stem with a vowel stays, -ly where four letters stay."""
    for ending in ("ing", "ed"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and len(rest) > 2 and VOWEL.search(rest):
            if rest[-1] == rest[-2] and rest[-1] not in "lsz":
                return rest[:-1]
            return rest[:-1] + "y" if rest[-1] == "i" else rest
    if word.endswith("ly") and len(word) > 5:
        return word[:-2]
    return word


def _undouble_e(word: str) -> str:
    """A silent -e goes, so that "move" meets "moving"."""
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
