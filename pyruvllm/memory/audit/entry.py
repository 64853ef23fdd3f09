"""A witness entry, and how it lies in the tables: a record whose metadata holds it, with typed columns taken from there."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...storage.driver import Value
from ...types import ErrorInfo, Generated, Latency, RoutingDecision
from ..columns import checked_text, checked_vector, cleaned_text, from_blob, is_number

COLLECTION = "witness"
LATEST = 2**53  # UTC milliseconds

COLUMNS = {  # their paths in the metadata
    **{name: name for name in ("timestamp", "session", "model", "quality", "hold")},
    "user_id": "user",
    **{name: f"routing.{name}" for name in ("context_size", "temperature", "top_p", "confidence", "policy", "model_probs")},
    **{name: f"latency.{name}" for name in (field.name for field in fields(Latency))},
    **{"error_kind": "error.kind", "error_message": "error.message"},
}
PATHS = tuple(path.split(".") for path in COLUMNS.values())
SELECT = """SELECT r.id, r.text, r.metadata, v.embedding, w.response_embedding
    FROM witness AS w JOIN records AS r ON r.number = w.number LEFT JOIN vectors AS v ON v.number = w.number"""


@dataclass(frozen=True, eq=False)
class WitnessEntry:
    """One request. Vectors are (768,) float32 of unit length; without ``query_embedding`` the entry is found by its words only.

    ConfigError, naming the field and its value, for what cannot be written.
    """

    request_id: str
    session_id: str
    query: str
    routing_decision: RoutingDecision
    model_used: str
    latency: Latency = field(default_factory=Latency)
    context_doc_ids: tuple[str, ...] = ()
    query_embedding: np.ndarray | None = None
    response_embedding: np.ndarray | None = None
    quality_score: float | None = None  # 0 ... 1; None: nobody said
    timestamp: int = 0  # UTC milliseconds; 0: when it is recorded
    error: ErrorInfo | None = None
    generated: Generated | None = None  # where a language model answered
    user_id: str | None = None  # None: that of the session, if it has one when the entry is written
    hold: str | None = None  # why it may not be removed; None: it may

    def __post_init__(self) -> None:
        for name in ("request_id", "session_id", "model_used"):
            checked_text(getattr(self, name), name)
        for name in ("user_id", "hold"):
            if getattr(self, name) is not None:
                checked_text(getattr(self, name), name)
        _check(self)
        object.__setattr__(self, "query", cleaned_text(self.query, "query"))  # whatever was asked, it was asked
        if self.error is not None:
            object.__setattr__(self, "error", ErrorInfo(self.error.kind, cleaned_text(self.error.message, "an error's message")))
        object.__setattr__(self, "query_embedding", checked_vector(self.query_embedding, "query_embedding"))
        object.__setattr__(self, "response_embedding", checked_vector(self.response_embedding, "response_embedding"))
        object.__setattr__(self, "quality_score", quality(self.quality_score))


def _check(entry: WitnessEntry) -> None:
    """That the parts of an entry are what they say. ConfigError."""
    parts = [("routing_decision", RoutingDecision, True), ("latency", Latency, True), ("error", ErrorInfo, False)]
    for name, kind, needed in (*parts, ("generated", Generated, False)):
        part = getattr(entry, name)
        if not isinstance(part, kind) and (needed or part is not None):
            raise ConfigError(f"{name} is {part!r}; {kind.__name__} would be right")
    if type(entry.timestamp) is not int or not 0 <= entry.timestamp <= LATEST:
        raise ConfigError(f"timestamp is {entry.timestamp!r}; a whole number of UTC milliseconds, 0 or more, would be right")
    if isinstance(entry.context_doc_ids, str) or not all(isinstance(id, str) for id in entry.context_doc_ids):
        raise ConfigError(f"context_doc_ids is {entry.context_doc_ids!r}; ids, which are strings, would be right")
    routing = entry.routing_decision
    for name in ("model", "policy"):
        checked_text(getattr(routing, name), f"routing_decision.{name}")
    _check_numbers("routing_decision", routing, ("context_size", "temperature", "top_p", "confidence"))
    for share in routing.model_probs:
        _check_number("routing_decision.model_probs", share)
    _check_numbers("latency", entry.latency, vars(entry.latency))
    if entry.generated is not None:
        _check_numbers("generated", entry.generated, ("prompt_tokens", "completion_tokens", "first_token_ms", "tokens_per_second"))


def _check_numbers(name: str, part: Any, of: Iterable[str]) -> None:
    for each in of:
        _check_number(f"{name}.{each}", getattr(part, each))


def _check_number(name: str, value: Any) -> None:
    if not is_number(value) or value < 0:
        raise ConfigError(f"{name} is {value!r}; a finite number of 0 or more would be right")


def metadata_of(entry: WitnessEntry, user: str | None = None) -> dict[str, Any]:
    """All of an entry but its id, its query and its vectors. user: of its session, for one that names none."""
    routing = entry.routing_decision
    return {
        "session": entry.session_id,
        "user": user if entry.user_id is None else entry.user_id,
        "model": entry.model_used,
        "quality": entry.quality_score,
        "timestamp": entry.timestamp,
        "routing": {**vars(routing), "model_probs": list(routing.model_probs)},
        "latency": dict(vars(entry.latency)),
        "context_ids": list(entry.context_doc_ids),
        "error": None if entry.error is None else dict(vars(entry.error)),
        "hold": entry.hold,
        **({"generated": dict(vars(entry.generated))} if entry.generated else {}),
    }


def columns_of(metadata: dict[str, Any]) -> tuple[Value, ...]:
    """The values of ``COLUMNS``, as SQLite's json_extract has them of that metadata."""
    found: list[Value] = []
    for steps in PATHS:
        value: Any = metadata
        for step in steps:
            value = None if value is None else value.get(step)
        found.append(json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value)
    return tuple(found)


def entry_of(row: Any) -> WitnessEntry:
    """The entry in a row of ``SELECT``."""
    id, query, metadata, embedding, response = row
    kept = json.loads(metadata)
    routing, error = kept["routing"], kept["error"]
    return WitnessEntry(
        request_id=id,
        session_id=kept["session"],
        query=query,
        routing_decision=RoutingDecision(**{**routing, "model_probs": tuple(routing["model_probs"])}),
        model_used=kept["model"],
        latency=Latency(**kept["latency"]),
        context_doc_ids=tuple(kept["context_ids"]),
        query_embedding=from_blob(embedding, "<f2"),
        response_embedding=from_blob(response, "<f2"),
        quality_score=kept["quality"],
        timestamp=kept["timestamp"],
        error=None if error is None else ErrorInfo(**error),
        generated=Generated(**kept["generated"]) if "generated" in kept else None,
        user_id=kept.get("user"),  # entries from before the chain have neither
        hold=kept.get("hold"),
    )


def quality(value: Any) -> float | None:
    """A quality as a float, or None. ConfigError."""
    if value is None:
        return None
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ConfigError(f"quality is {value!r}; a number between 0 and 1 would be right")
    return float(value)
