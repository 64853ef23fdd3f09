"""Full text: which records have which words, in flat numpy arrays, and BM25 over them.

Each record's words are kept in the database as one blob of (uint32 term, uint32 count) pairs. At open all blobs of a collection become
one inverted index: ``terms`` sorted, and for each a run of ``places`` and ``counts``. What is added later waits in a short tail that is
joined to the rest when it has grown. Deleted records are masked, and left out of every statistic, so a reopened index scores the same.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from .words import words

K1 = 0.9  # how soon a further repetition of a word stops to count
B = 0.4  # how much a long record is held against it
FIELDS = ("title", "heading", "speaker")  # metadata whose words are part of the record's text
TAIL = 4096  # postings that may wait before they are joined to the sorted ones

PAIR = np.dtype([("term", "<u4"), ("count", "<u4")])


@lru_cache(maxsize=50_000)
def term_of(word: str) -> int:
    """A stemmed word as the 32-bit number it is kept under."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def encode(text: str, metadata: Mapping[str, Any]) -> bytes:
    """The words of a record, ready for the ``postings`` table."""
    parts = [text, *(metadata[field] for field in FIELDS if isinstance(metadata.get(field), str))]
    counts: dict[int, int] = {}
    for part in parts:
        for stemmed, _ in words(part):
            term = term_of(stemmed)
            counts[term] = counts.get(term, 0) + 1
    return struct.pack(f"<{2 * len(counts)}I", *chain.from_iterable(sorted(counts.items())))


@dataclass(frozen=True)
class Query:
    """The distinct words of a query: as 32-bit terms, and as they were written."""

    terms: tuple[int, ...]
    written: tuple[str, ...]


def parse(text: str) -> Query:
    first = {}
    for stemmed, written in words(text):
        first.setdefault(term_of(stemmed), written)
    return Query(tuple(first), tuple(first.values()))


@dataclass(frozen=True)
class Statistics:
    """What BM25 needs to know of all the records that are searched together, in however many collections."""

    records: int
    length: int  # words of all of them
    frequencies: np.ndarray  # (query terms,) records that have each term

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(self.records + other.records, self.length + other.length, self.frequencies + other.frequencies)

    @property
    def weights(self) -> np.ndarray:
        """(query terms,) how much each counts: the rarer, the more."""
        return np.log1p((self.records - self.frequencies + 0.5) / (self.frequencies + 0.5))

    @property
    def ceiling(self) -> float:
        """The BM25 that no record exceeds: of one that has all the query's words that any record has, over and over."""
        return float((K1 + 1) * self.weights[self.frequencies > 0].sum())


@dataclass(frozen=True)
class Matches:
    """The records of one collection that have a word of the query, in no order."""

    numbers: np.ndarray  # (n,) int64
    scores: np.ndarray  # (n,) float32, BM25
    terms: np.ndarray  # (n,) uint64, bit i set where the record has term i of the query (the first 64)


class FullText:
    """The inverted index of one collection. A place is a record's position in ``numbers``; places of deleted records stay empty."""

    def __init__(self) -> None:
        self.numbers = np.empty(0, np.int64)  # (places,)
        self.lengths = np.empty(0, np.int32)  # (places,) words; 0 where deleted
        self.alive = np.empty(0, bool)  # (places,)
        self.newest = -1  # the greatest number that ever was in it
        self._terms = np.empty(0, np.uint32)  # (distinct,) sorted
        self._starts = np.zeros(1, np.intp)  # (distinct + 1,)
        self._places = np.empty(0, np.int32)  # (postings,)
        self._counts = np.empty(0, np.int32)  # (postings,)
        self._tail: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # (terms, places, counts) not joined yet
        self._waiting = 0

    def __len__(self) -> int:
        return int(self.alive.sum())

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """Which of these numbers (n,) are in it, (n,) bool."""
        return np.isin(numbers, self.numbers[self.alive])

    def add(self, numbers: Sequence[int] | np.ndarray, blobs: Sequence[bytes]) -> None:
        """Records that are not in it yet, with their encoded words."""
        self.extend(np.asarray(numbers, np.int64), np.fromiter(map(len, blobs), np.int64, len(blobs)), b"".join(blobs))

    def extend(self, numbers: np.ndarray, sizes: np.ndarray, content: bytes | memoryview) -> None:
        """The same for numbers (n,) int64 whose encoded words lie one after the other; sizes (n,) in bytes."""
        pairs = np.frombuffer(content, PAIR)
        owner = np.repeat(np.arange(len(sizes)), (sizes // PAIR.itemsize).astype(np.intp))  # (postings,)
        counts = pairs["count"].astype(np.int32)
        first = len(self.numbers)
        self.numbers = np.concatenate([self.numbers, numbers])
        self.newest = max(self.newest, int(numbers.max(initial=-1)))
        lengths = np.bincount(owner, weights=counts, minlength=len(sizes)).astype(np.int32)
        self.lengths = np.concatenate([self.lengths, lengths])
        self.alive = np.concatenate([self.alive, np.ones(len(sizes), bool)])
        self._tail.append((pairs["term"].copy(), (owner + first).astype(np.int32), counts))
        self._waiting += len(pairs)
        if self._waiting > max(TAIL, len(self._places) // 4):
            self._join()

    def remove(self, numbers: Sequence[int] | np.ndarray) -> None:
        """Numbers that are not in it are passed over."""
        if not len(numbers):
            return
        gone = np.isin(self.numbers, np.asarray(numbers, np.int64))
        self.alive &= ~gone
        self.lengths[gone] = 0
        if len(self.alive) > 64 and self.alive.sum() * 2 < len(self.alive):
            self._compact()

    def statistics(self, query: Query) -> Statistics:
        frequencies = [int(self.alive[places].sum()) for places, _ in map(self._postings, query.terms)]
        return Statistics(len(self), int(self.lengths.sum()), np.array(frequencies, np.int64))

    def search(self, query: Query, statistics: Statistics, allowed: np.ndarray | None = None) -> Matches:
        """Every record that has a term of the query and whose number is ``allowed``, scored with the statistics of all collections."""
        scores = np.zeros(len(self.numbers), np.float32)  # (places,)
        seen = np.zeros(len(self.numbers), np.uint64)  # (places,)
        mean = statistics.length / max(1, statistics.records)
        norm = K1 * (1 - B + B * self.lengths / mean) if mean else np.full(len(self.numbers), K1)
        for bit, (term, weight) in enumerate(zip(query.terms, statistics.weights, strict=True)):
            places, counts = self._postings(term)
            scores[places] += (weight * (K1 + 1) * counts / (counts + norm[places])).astype(np.float32)
            if bit < 64:
                seen[places] |= np.uint64(1 << bit)
        found = (scores > 0) & self.alive
        if allowed is not None:
            found &= np.isin(self.numbers, allowed)
        at = np.flatnonzero(found)
        return Matches(self.numbers[at], scores[at], seen[at])

    def _postings(self, term: int) -> tuple[np.ndarray, np.ndarray]:
        """(places, counts) of a term, deleted records included."""
        at = int(np.searchsorted(self._terms, np.uint32(term)))
        start, end = (self._starts[at], self._starts[at + 1]) if at < len(self._terms) and self._terms[at] == term else (0, 0)
        places, counts = self._places[start:end], self._counts[start:end]
        for terms, more_places, more_counts in self._tail:
            hit = terms == term
            if hit.any():
                places, counts = np.concatenate([places, more_places[hit]]), np.concatenate([counts, more_counts[hit]])
        return places, counts

    def _join(self) -> None:
        """Sorts the tail in with the rest."""
        terms = np.concatenate([np.repeat(self._terms, np.diff(self._starts)), *(part[0] for part in self._tail)])
        places = np.concatenate([self._places, *(part[1] for part in self._tail)])
        counts = np.concatenate([self._counts, *(part[2] for part in self._tail)])
        order = np.argsort(terms, kind="stable")
        self._places, self._counts = places[order], counts[order]
        self._terms, starts = np.unique(terms[order], return_index=True)
        self._starts = np.append(starts, len(order)).astype(np.intp)
        self._tail, self._waiting = [], 0

    def _compact(self) -> None:
        """Gives back the places of deleted records."""
        self._join()
        kept = self.alive[self._places]
        moved = np.cumsum(self.alive, dtype=np.int64) - 1  # (places,) where each lives afterwards
        terms = np.repeat(self._terms, np.diff(self._starts))[kept]
        self._places, self._counts = moved[self._places[kept]].astype(np.int32), self._counts[kept]
        self._terms, starts = np.unique(terms, return_index=True)
        self._starts = np.append(starts, len(terms)).astype(np.intp)
        self.numbers, self.lengths, self.alive = self.numbers[self.alive], self.lengths[self.alive], np.ones(int(self.alive.sum()), bool)
