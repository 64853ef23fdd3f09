"""An answer made of sentences that are in memory: what speaks until a language model is loaded, and says that it quotes.

A sentence is scored by what it means (cosine with the question), by the words it shares with the question, and by how well its
passage was recalled. The best few are quoted, each with the number of its source; when none is near enough nothing is claimed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..embed.embedder import Embedder
from ..embed.sentences import sentences
from ..memory.words import words
from ..types import Hit

NOTHING = "Nothing in memory answers this. Add a text that does, or ask in other words."

READ = 3  # passages whose sentences are embedded
SENTENCES = 12  # at most, over all of them: one batch of the embedding model
QUOTES = 3
NEAR = 0.85  # of the best sentence's score, for a further sentence to be quoted
MEANING, WORDS, RECALL = 0.55, 0.3, 0.15  # shares of a sentence's score
ENOUGH = 0.34  # score below which a sentence answers nothing
BACKWARD = frozenset("it they he she this that these those his her their its there then".split())  # such a sentence needs the one before it


@dataclass(frozen=True)
class Quote:
    hit: int  # place of the passage in the hits
    start: int  # in the passage's text
    end: int
    score: float


@dataclass(frozen=True)
class Composition:
    """``text`` with marks such as [2]; ``quotes`` in the order of the text; ``vector`` (768,) is the mean of what was quoted."""

    text: str
    kind: str  # "extractive" or "none"
    quotes: tuple[Quote, ...]
    vector: np.ndarray | None


async def compose(question: str, query: np.ndarray, hits: Sequence[Hit], embedder: Embedder) -> Composition:
    """Quotes from ``hits`` (best first) what answers ``question``; source n of the text is ``hits[n - 1]``. ``query``: (768,) unit."""
    candidates = [(place, start, end) for place, hit in enumerate(hits[:READ]) for start, end in sentences(hit.text)][:SENTENCES]
    if not candidates:
        return Composition(NOTHING, "none", (), None)
    texts = [hits[place].text[start:end] for place, start, end in candidates]
    vectors = await embedder.embed(texts)  # (sentences, 768)
    asked = _terms(question)
    shared = np.array([len(asked & _terms(text)) for text in texts]) / max(1, len(asked))
    top = max(hit.score for hit in hits) or 1.0
    recalled = np.array([hits[place].score / top for place, _, _ in candidates])
    scores = MEANING * (vectors @ query) + WORDS * shared + RECALL * recalled

    best = scores.max()
    if best < ENOUGH:
        return Composition(NOTHING, "none", (), None)
    chosen = [int(i) for i in np.argsort(-scores)[:QUOTES] if scores[i] >= NEAR * best]
    passages = list(dict.fromkeys(candidates[i][0] for i in chosen))  # the one with the best sentence first
    chosen.sort(key=lambda i: (passages.index(candidates[i][0]), i))
    quotes = _joined([_quote(hits, candidates, i, float(scores[i])) for i in chosen])
    text = "\n\n".join(f"“{' '.join(hits[q.hit].text[q.start : q.end].split())}” [{q.hit + 1}]" for q in quotes)
    mean = vectors[chosen].mean(axis=0)
    return Composition(text, "extractive", tuple(quotes), (mean / np.linalg.norm(mean)).astype(np.float32))


def _quote(hits: Sequence[Hit], candidates: Sequence[tuple[int, int, int]], i: int, score: float) -> Quote:
    """Candidate ``i``, from one sentence earlier when its first word points back."""
    place, start, end = candidates[i]
    first = hits[place].text[start:end].split(None, 1)[0].strip(",.;:'’").lower()
    if first in BACKWARD and i and candidates[i - 1][0] == place:
        start = candidates[i - 1][1]
    return Quote(place, start, end, score)


def _joined(quotes: Sequence[Quote]) -> list[Quote]:
    """Quotes of one passage that touch or overlap become one."""
    joined: list[Quote] = []
    for quote in quotes:
        last = joined[-1] if joined else None
        if last and last.hit == quote.hit and quote.start <= last.end + 1 and quote.end >= last.start:
            joined[-1] = Quote(last.hit, min(last.start, quote.start), max(last.end, quote.end), max(last.score, quote.score))
        else:
            joined.append(quote)
    return joined


def _terms(text: str) -> set[str]:
    return {term for term, _ in words(text)}
