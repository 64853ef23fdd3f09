"""An answer made of sentences that are in memory: what speaks until a language model is loaded, and says that it quotes.

Each sentence of the best passages is read under its heading and compared with the question. A passage is as good an answer as its
nearest sentence, and better the more of the question's words it has. From the best one or two the nearest sentence is quoted with
what belongs to it around it; where none is good enough nothing is claimed. Headings and questions answer nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..embed.embedder import Embedder
from ..embed.sentences import below_headings, sentences
from ..memory.words import words
from ..types import Hit

NOTHING = "Nothing in memory answers this. Add a text that does, or ask in other words."

BULLET = re.compile(r"(?:[-*+•–]\s+)?")
READ = 3  # passages whose sentences are embedded
SENTENCES = 16  # at most, over all of them
QUOTES = 2  # passages quoted
LENGTH = 360  # characters of a quote that is longer than one sentence
WORDS = 0.35  # what having all words of the question adds to a cosine
# The bounds were set on the sample notebook: 30 questions it answers, 12 it does not.
ENOUGH = 0.5  # evidence that makes a passage an answer
CLOSE = 0.42  # cosine of a passage or a sentence that does so without any shared word
NEAR = 0.92  # of the best evidence, for a second passage to be quoted
BELONGS = 0.55  # of the nearest sentence's score, for the one beside it to be quoted with it


@dataclass(frozen=True)
class Quote:
    hit: int  # place of the passage in the hits
    start: int  # in the passage's text
    end: int


@dataclass(frozen=True)
class Composition:
    """``text`` with marks such as [2]; ``quotes`` in the order of the text; ``vector`` (768,) is the mean of what was quoted."""

    text: str
    kind: str  # "extractive" or "none"
    quotes: tuple[Quote, ...]
    vector: np.ndarray | None


async def compose(question: str, query: np.ndarray, hits: Sequence[Hit], embedder: Embedder) -> Composition:
    """Quotes from ``hits`` (best first) what answers ``question``; source n of the text is ``hits[n - 1]``. ``query``: (768,) unit."""
    asked = _terms(question)
    spans = [(place, span) for place, hit in enumerate(hits[:READ]) for span in _said(hit.text)][:SENTENCES]
    if not spans:
        return Composition(NOTHING, "none", (), None)
    vectors = await embedder.embed([f"{_heading(hits[place])}. {hits[place].text[start:end]}" for place, (start, end) in spans])
    meaning = vectors @ query  # (sentences,)

    nearest = {place: hits[place].why.similarity or 0.0 for place, _ in spans}  # the passage, or its nearest sentence
    for (place, _), cosine in zip(spans, meaning, strict=True):
        nearest[place] = max(nearest[place], float(cosine))
    evidence = {}
    for place in nearest:
        shared = asked & _terms(f"{_heading(hits[place])} {hits[place].text}")
        evidence[place] = nearest[place] + WORDS * len(shared) / max(1, len(asked))
    best = max(evidence.values())
    if best < ENOUGH and max(nearest.values()) < CLOSE:
        return Composition(NOTHING, "none", (), None)

    quotes, quoted = [], []
    for place in sorted(evidence, key=evidence.__getitem__, reverse=True)[:QUOTES]:
        if evidence[place] >= NEAR * best:
            own = [i for i, (each, _) in enumerate(spans) if each == place]
            overlap = [len(asked & _terms(hits[place].text[slice(*spans[i][1])])) / max(1, len(asked)) for i in own]
            first, last = _run([spans[i][1] for i in own], meaning[own] + WORDS * np.array(overlap))
            quotes.append(Quote(place, spans[own[first]][1][0], spans[own[last]][1][1]))
            quoted += own[first : last + 1]
    text = "\n\n".join(f"“{' '.join(hits[q.hit].text[q.start : q.end].split())}” [{q.hit + 1}]" for q in quotes)
    mean = vectors[quoted].mean(axis=0)
    return Composition(text, "extractive", tuple(quotes), (mean / np.linalg.norm(mean)).astype(np.float32))


def _said(text: str) -> list[tuple[int, int]]:
    """Its sentences that may answer something, without the marks of lists."""
    begin = below_headings(text)
    found = [(BULLET.match(text, start, end).end(), end) for start, end in sentences(text) if start >= begin]  # type: ignore[union-attr]
    return [(start, end) for start, end in found if start < end and not text[:end].endswith("?")]


def _run(spans: Sequence[tuple[int, int]], scores: np.ndarray) -> tuple[int, int]:
    """First and last of the sentences to quote: the best one, and the better of its neighbours as long as they belong and fit."""
    first = last = int(np.argmax(scores))
    bound = BELONGS * scores[first]
    while True:
        beside = [i for i in (first - 1, last + 1) if 0 <= i < len(spans) and scores[i] >= bound]
        beside = [i for i in beside if max(spans[i][1], spans[last][1]) - min(spans[i][0], spans[first][0]) <= LENGTH]
        if not beside:
            return first, last
        chosen = max(beside, key=lambda i: scores[i])
        first, last = min(first, chosen), max(last, chosen)


def _heading(hit: Hit) -> str:
    return hit.metadata.get("heading") or hit.metadata["title"]


def _terms(text: str) -> set[str]:
    return {term for term, _ in words(text)}
