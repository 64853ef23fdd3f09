"""The values that cross module borders."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Metadata = dict[str, Any]  # JSON: str, int, float, bool, None, lists and dicts of them


@dataclass(frozen=True)
class Draft:
    """A record to be written. Without an id one is made; without a vector the text is embedded."""

    text: str
    id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    vector: np.ndarray | None = None  # (768,) float32, unit length


@dataclass(frozen=True)
class Record:
    """A row of a collection. Times are UTC milliseconds."""

    id: str
    collection: str
    text: str
    metadata: Metadata
    created_at: int
    updated_at: int


@dataclass(frozen=True)
class Why:
    """Why a hit is there. Ranks count from 1; None where that side did not find it."""

    similarity: float | None = None  # cosine of query and record, -1 ... 1
    vector_rank: int | None = None
    bm25: float | None = None  # BM25 score of the words they share
    text_rank: int | None = None
    terms: tuple[str, ...] = ()  # words of the query that the record has, as the query wrote them
    graph: tuple[str, ...] = ()  # what the graph added, in words: "follows the passage before it"

    def __str__(self) -> str:
        parts = []
        if self.terms:
            parts.append("shares " + ", ".join(f"“{term}”" for term in self.terms))
        if self.similarity is not None:
            parts.append(f"similar in meaning ({self.similarity:.2f})")
        return "; ".join([*parts, *self.graph]) or "matches the filter"


@dataclass(frozen=True)
class Hit:
    """One search result. ``score`` is comparable within one search only; higher is better."""

    id: str
    collection: str
    text: str
    metadata: Metadata
    score: float
    why: Why


@dataclass(frozen=True)
class RoutingDecision:
    """What the router chose for a request (ADR-002, role C)."""

    model: str
    context_size: int  # tokens
    temperature: float
    top_p: float
    confidence: float
    model_probs: tuple[float, ...]
    policy: str  # id of the policy that decided


@dataclass(frozen=True)
class Latency:
    """Where the time of a request went, in milliseconds (ADR-002, role C)."""

    embedding_ms: float = 0.0
    retrieval_ms: float = 0.0
    routing_ms: float = 0.0
    attention_ms: float = 0.0
    generation_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True)
class ErrorInfo:
    """What went wrong with a request."""

    kind: str  # the exception's class name
    message: str


@dataclass(frozen=True)
class Source:
    """A passage an answer stands on. ``highlight`` marks, within ``text``, the sentences the answer quotes."""

    number: int  # the [1] in the answer
    id: str  # of the passage's record
    document: str  # id of the document it is from
    title: str
    heading: str
    text: str
    score: float
    why: Why
    start: int  # of the passage in its document, in characters
    end: int
    highlight: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Generated:
    """How a language model wrote an answer. first_token_ms counts from the question; finish: see ``models.generate.Usage``.

    guessed: tokens that were guessed and checked together with others, accepted: those that were right; guessing: by whom, and why a
    guesser rests, in words.
    """

    model: str
    prompt_tokens: int
    completion_tokens: int
    first_token_ms: float
    tokens_per_second: float
    finish: str
    guessed: int = 0
    accepted: int = 0
    guessing: str = ""


@dataclass(frozen=True)
class Answer:
    """What one request gave.

    ``kind`` says how the text came about: ``generated`` was written by a language model from what was recalled, ``extractive`` is
    composed of sentences quoted from memory, ``none`` means that nothing recalled was close enough to quote. ``notes`` say, in words,
    why it is not what one would expect: what was left out, which sources the model made up, why no model answered. ``recorded`` is
    False where there is no witness entry of it: the memory is read-only, or the log is full or cannot take it.
    """

    id: str  # of the witness entry
    text: str
    kind: str
    sources: tuple[Source, ...]
    latency: Latency
    routing: RoutingDecision
    recorded: bool = True
    generated: Generated | None = None
    notes: tuple[str, ...] = ()
