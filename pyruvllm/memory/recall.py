"""The search: words and vectors over one collection or many, fused, and what the graph adds. It reads, and writes nothing.

Collections that are searched together are scored as if they were one: word statistics are summed over them before BM25, and
cosines are of one space, so that hits merge by score.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hnsw_pure import diversify

from ..config import DIMENSION
from ..types import Hit, Why
from . import fulltext
from .collection import Collection
from .fusion import GIVERS, PASSED_ON, fuse
from .graph import Graph
from .records import Records

POOL = 100  # candidates that each side brings, at least; three times k when that is more

FOLLOWS = "follows a passage that matches"
PRECEDES = "stands before a passage that matches"


@dataclass(frozen=True)
class Question:
    """What to look for. ``allowed`` are the numbers that pass the filter, None for all; ``gone`` are no hits."""

    text: str | None  # None: no words are looked up
    vector: np.ndarray | None  # (dimension,) float32; None: no vectors are looked up
    k: int
    allowed: np.ndarray | None = None  # (n,) int64
    gone: frozenset[int] = frozenset()
    diversity: float = 0.0  # 0: the best hits; up to 1: hits that are unlike each other


@dataclass(frozen=True)
class Found:
    """What one way of looking found: the best of it ranked, best first, and the score of each number looked at."""

    ranked: list[int]
    scores: dict[int, float]

    @cached_property
    def ranks(self) -> dict[int, int]:
        """Of those ranked, from 1."""
        return {number: place for place, number in enumerate(self.ranked, 1)}


NOTHING = Found([], {})


def recall(records: Records, graph: Graph, collections: Sequence[Collection], question: Question) -> list[Hit]:
    """At most k hits, best first. Fewer only where fewer exist, or in a search by words alone where fewer share one."""
    pool = max(POOL, 3 * question.k) + len(question.gone)
    query = fulltext.parse(question.text or "")
    matches, ceiling = _matches(collections, question, query)
    text = _best(matches, pool)
    near = NOTHING if question.vector is None else _near(collections, question.vector, pool, question.allowed)
    if question.text is None or question.vector is None:
        one = near if question.text is None else text
        scores, gifts = {number: one.scores[number] for number in one.ranked}, {}
    else:
        text, near, scores, gifts = _fused(graph, collections, question, matches, ceiling, text, near)
    best = sorted(scores, key=lambda number: (-scores[number], number))
    best = [number for number in best if number not in question.gone]
    if question.diversity:
        best = _diverse(records, best[: max(POOL, 3 * question.k)], scores, question)
    best = best[: question.k]
    terms = _terms(matches, best, query)
    return _hits(records, best, scores, text, near, terms, gifts)


def within(
    records: Records,
    collections: Sequence[Collection],
    vector: np.ndarray,
    similarity: float,
    allowed: np.ndarray | None = None,
    gone: frozenset[int] = frozenset(),
) -> list[Hit]:
    """Every hit with a cosine of at least ``similarity``, best first."""
    near = _merged([collection.index.within(vector, similarity, allowed) for collection in collections], None)
    best = [number for number in near.ranked if number not in gone]
    return _hits(records, best, near.scores, NOTHING, near, {}, {})


def _diverse(records: Records, numbers: list[int], scores: dict[int, float], question: Question) -> list[int]:
    """k of the numbers by maximal marginal relevance. Those without a vector are like no other."""
    if not numbers:
        return []
    found, vectors = records.vectors_of(numbers, DIMENSION)
    bare = sorted(set(numbers) - set(found.tolist()))
    place = {number: row for row, number in enumerate([*found.tolist(), *bare])}
    rows = np.zeros((len(numbers), DIMENSION + len(bare)), np.float32)
    rows[: len(found), :DIMENSION] = vectors
    rows[range(len(found), len(rows)), range(DIMENSION, DIMENSION + len(bare))] = 1  # an axis of its own for each
    ordered = rows[[place[number] for number in numbers]]
    taken = diversify(ordered, np.array([scores[number] for number in numbers]), question.k, 1 - question.diversity)
    return [numbers[turn] for turn in taken.tolist()]


def _matches(collections: Sequence[Collection], question: Question, query: fulltext.Query) -> tuple[list[fulltext.Matches], float]:
    """What shares a word with the query in each collection, and the most that BM25 could be."""
    if not query.terms:
        return [], 0.0
    each = [collection.fulltext.statistics(query) for collection in collections]
    total = sum(each[1:], each[0])
    return [collection.fulltext.search(query, total, question.allowed) for collection in collections], total.ceiling


def _best(matches: Sequence[fulltext.Matches], pool: int) -> Found:
    """The ``pool`` best by words; equal scores by number, so that the order is always the same."""
    if not matches:
        return NOTHING
    numbers = np.concatenate([match.numbers for match in matches])
    scores = np.concatenate([match.scores for match in matches])
    if len(scores) > pool:
        least = np.partition(scores, -pool)[-pool]
        kept = np.flatnonzero(scores >= least)  # all that tie with the last: which of them stay is settled by number
        numbers, scores = numbers[kept], scores[kept]
    order = np.lexsort((numbers, -scores))[:pool]
    ranked = numbers[order].tolist()
    return Found(ranked, dict(zip(ranked, scores[order].tolist(), strict=True)))


def _near(collections: Sequence[Collection], vector: np.ndarray, pool: int, allowed: np.ndarray | None) -> Found:
    return _merged([collection.index.search(vector, pool, allowed) for collection in collections], pool)


def _merged(parts: Sequence[tuple[np.ndarray, np.ndarray]], pool: int | None) -> Found:
    """(numbers, scores) of several collections as one, the ``pool`` best of them, or all."""
    numbers, scores = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    order = np.lexsort((numbers, -scores))[:pool]
    ranked = numbers[order].tolist()
    return Found(ranked, dict(zip(ranked, scores[order].tolist(), strict=True)))


def _fused(
    graph: Graph,
    collections: Sequence[Collection],
    question: Question,
    matches: Sequence[fulltext.Matches],
    ceiling: float,
    text: Found,
    near: Found,
) -> tuple[Found, Found, dict[int, float], dict[int, str]]:
    """Both sides completed for the candidates of either, their scores, and in words what neighbours gave to whom."""
    assert question.vector is not None
    candidates = list(dict.fromkeys([*text.ranked, *near.ranked]))
    text, near = _complete(collections, question.vector, matches, text, near, candidates)
    own = _scored(candidates, ceiling, text, near)
    givers = sorted(own, key=lambda number: (-own[number], number))[: max(GIVERS, 2 * question.k)]
    pairs = graph.beside(givers)
    beside = {number for pair in pairs for number in pair} - own.keys()
    if beside:
        more = _admitted(collections, sorted(beside), question.allowed)
        text, near = _complete(collections, question.vector, matches, text, near, more)
        own |= _scored(more, ceiling, text, near)
    scores, gifts = _passed_on(own, pairs)
    return text, near, scores, gifts


def _scored(candidates: Sequence[int], ceiling: float, text: Found, near: Found) -> dict[int, float]:
    bm25 = np.array([text.scores.get(number, 0.0) for number in candidates])
    similarity = np.array([near.scores.get(number, 0.0) for number in candidates])
    return dict(zip(candidates, fuse(bm25, ceiling, similarity).tolist(), strict=True))


def _passed_on(own: dict[int, float], pairs: Sequence[tuple[int, int]]) -> tuple[dict[int, float], dict[int, str]]:
    """Scores with what neighbours give, and in words the largest gift to each, where it is at least a tenth of the score."""
    scores, gifts, largest = dict(own), {}, dict[int, float]()
    for later, earlier in pairs:
        if later in own and earlier in own:
            for giver, taker, words in ((earlier, later, FOLLOWS), (later, earlier, PRECEDES)):
                given = PASSED_ON * max(0.0, own[giver])
                scores[taker] += given
                if given > largest.get(taker, 0.0):
                    largest[taker], gifts[taker] = given, words
    return scores, {taker: words for taker, words in gifts.items() if largest[taker] >= 0.1 * scores[taker]}


def _complete(
    collections: Sequence[Collection],
    vector: np.ndarray,
    matches: Sequence[fulltext.Matches],
    text: Found,
    near: Found,
    candidates: Sequence[int],
) -> tuple[Found, Found]:
    """Adds the BM25 and the cosine of candidates that only the other side brought; they get no rank by it."""
    bare = [number for number in candidates if number not in near.scores]
    for collection in collections if bare else ():
        near = Found(near.ranked, near.scores | collection.index.cosines(vector, bare))
    bare = np.array([number for number in candidates if number not in text.scores], np.int64)
    if len(bare):
        found = dict(text.scores)
        for match in matches:
            at = np.flatnonzero(np.isin(match.numbers, bare))
            found.update(zip(match.numbers[at].tolist(), match.scores[at].tolist(), strict=True))
        text = Found(text.ranked, found)
    return text, near


def _admitted(collections: Sequence[Collection], numbers: list[int], allowed: np.ndarray | None) -> list[int]:
    """Those of the numbers that are in the searched collections and pass the filter."""
    given = np.array(numbers, np.int64)
    if allowed is not None:
        given = given[np.isin(given, allowed)]
    inside = [given[collection.fulltext.holds(given)] for collection in collections]
    return np.concatenate(inside).tolist()


def _terms(matches: Sequence[fulltext.Matches], numbers: list[int], query: fulltext.Query) -> dict[int, tuple[str, ...]]:
    """The words of the query that each record has, as the query wrote them."""
    terms = {}
    wanted = np.array(numbers, np.int64)
    for match in matches:
        at = np.flatnonzero(np.isin(match.numbers, wanted))
        for number, bits in zip(match.numbers[at].tolist(), match.terms[at].tolist(), strict=True):
            terms[number] = tuple(word for bit, word in enumerate(query.written[:64]) if bits >> bit & 1)
    return terms


def _hits(
    records: Records,
    numbers: list[int],
    scores: dict[int, float],
    text: Found,
    near: Found,
    terms: dict[int, tuple[str, ...]],
    gifts: dict[int, str],
) -> list[Hit]:
    rows = records.shown(numbers)
    hits = []
    for number in numbers:
        id, collection, content, metadata = rows[number]
        why = Why(
            similarity=near.scores.get(number),
            vector_rank=near.ranks.get(number),
            bm25=text.scores.get(number),
            text_rank=text.ranks.get(number),
            terms=terms.get(number, ()),
            graph=(gifts[number],) if number in gifts else (),
        )
        hits.append(Hit(str(id), str(collection), str(content), json.loads(str(metadata)), scores[number], why))
    return hits
