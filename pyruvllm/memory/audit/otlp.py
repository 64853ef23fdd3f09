"""The witness log in OpenTelemetry's words: spans as OTLP JSON, and the same attributes as JSON Lines.

Names are those of the GenAI semantic conventions (in development) where they have one; the router's decisions have none and are under
``pyruvllm.routing``. What was asked and the messages of errors are left out unless they are asked for, as the conventions say.
Format: OTLP 1.x with JSON encoding: ids in hexadecimal, 64-bit integers and times (nanoseconds) as strings, enums as numbers.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from .entry import WitnessEntry

INTERNAL, CLIENT = 1, 3  # kinds of span
OK, ERROR = 1, 2  # codes of status
STEPS = {  # the parts of a request, in their order: the name of the span and its operation, where the conventions have one
    "embedding_ms": ("embeddings", "embeddings"),
    "retrieval_ms": ("retrieval", "retrieval"),
    "routing_ms": ("pyruvllm.route", None),
    "attention_ms": ("pyruvllm.attend", None),
    "generation_ms": ("pyruvllm.generate", None),
}


def attributes_of(entry: WitnessEntry, text: bool) -> dict[str, Any]:
    """What is known of a request, by the names of the conventions. None values are left out."""
    routing, latency, generated = entry.routing_decision, entry.latency, entry.generated
    found = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "pyruvllm",
        "gen_ai.conversation.id": entry.session_id,
        "gen_ai.request.model": routing.model,
        "gen_ai.request.temperature": float(routing.temperature),
        "gen_ai.request.top_p": float(routing.top_p),
        "gen_ai.response.id": entry.request_id,
        "gen_ai.response.model": entry.model_used,
        "gen_ai.response.finish_reasons": [generated.finish] if generated else None,
        "gen_ai.response.time_to_first_chunk": generated.first_token_ms / 1000 if generated else None,  # seconds
        "gen_ai.usage.input_tokens": generated.prompt_tokens if generated else None,
        "gen_ai.usage.output_tokens": generated.completion_tokens if generated else None,
        "gen_ai.retrieval.documents": [{"id": id} for id in entry.context_doc_ids],
        "gen_ai.retrieval.query.text": entry.query if text else None,
        "gen_ai.evaluation.name": None if entry.quality_score is None else "quality",
        "gen_ai.evaluation.score.value": entry.quality_score,
        "error.type": entry.error.kind if entry.error else None,
        "error.message": entry.error.message if entry.error and text else None,
        "enduser.id": entry.user_id,
        "pyruvllm.routing.context_size": routing.context_size,
        "pyruvllm.routing.confidence": float(routing.confidence),
        "pyruvllm.routing.model_probabilities": [float(share) for share in routing.model_probs],
        "pyruvllm.routing.policy": routing.policy,
        "pyruvllm.hold": entry.hold,
        **{f"pyruvllm.latency.{name}": float(value) for name, value in vars(latency).items()},
    }
    return {name: value for name, value in found.items() if value is not None}


def lines(entries: Iterable[WitnessEntry], text: bool, embeddings: bool) -> Iterator[str]:
    """One JSON object a line: ``timestamp`` in UTC milliseconds, the attributes, and the vectors if asked for."""
    for entry in entries:
        found = {"timestamp": entry.timestamp, **attributes_of(entry, text)}
        if embeddings:
            for name in ("query_embedding", "response_embedding"):
                vector = getattr(entry, name)
                found[f"pyruvllm.{name}"] = None if vector is None else vector.tolist()
        yield json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n"


def request(spans: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """An ExportTraceServiceRequest."""
    scope = {"scope": {"name": "pyruvllm.witness"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": _attributes({"service.name": "pyruvllm"})}, "scopeSpans": [scope]}]}


def spans(entry: WitnessEntry, text: bool) -> Iterator[dict[str, Any]]:
    """The span of the request, and one for each step that took time, in a trace of its own."""
    trace, root = _ids(entry.request_id)
    start = entry.timestamp * 1_000_000
    attributes = attributes_of(entry, text)
    # the conventions put an evaluation into an event; documents are a structured value, which an attribute carries as JSON
    evaluation = {name: attributes.pop(name) for name in ("gen_ai.evaluation.name", "gen_ai.evaluation.score.value") if name in attributes}
    documents = attributes.pop("gen_ai.retrieval.documents")
    query = attributes.pop("gen_ai.retrieval.query.text", None)
    end = start + _nanoseconds(entry.latency.total_ms)
    whole = _span(trace, root, f"chat {entry.routing_decision.model}", CLIENT, start, end, attributes)
    whole["status"] = {"code": ERROR, **({"message": entry.error.message} if text else {})} if entry.error else {"code": OK}
    if evaluation:
        happened = {"timeUnixNano": str(end), "name": "gen_ai.evaluation.result", "attributes": _attributes(evaluation)}
        whole["events"] = [happened]
    yield whole
    at = start
    for place, (step, (name, operation)) in enumerate(STEPS.items(), 1):
        took = _nanoseconds(getattr(entry.latency, step))
        if not took:
            continue
        own: dict[str, Any] = {"gen_ai.operation.name": operation} if operation else {}
        if step == "retrieval_ms":
            own["gen_ai.retrieval.documents"] = json.dumps(documents, separators=(",", ":"))
            own |= {"gen_ai.retrieval.query.text": query} if query else {}
        part = _span(trace, _derived(root, place), name, INTERNAL, at, at + took, own)
        yield {**part, "parentSpanId": root}
        at += took


def _span(trace: str, id: str, name: str, kind: int, start: int, end: int, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"traceId": trace, "spanId": id, "name": name, "kind": kind},
        **{"startTimeUnixNano": str(start), "endTimeUnixNano": str(end), "attributes": _attributes(attributes)},
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    """An AnyValue."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": str(value)}


def _nanoseconds(milliseconds: float) -> int:
    return max(0, round(milliseconds * 1_000_000))


def _ids(request_id: str) -> tuple[str, str]:
    """(trace id of 32 hexadecimal digits, span id of 16): the request's id where it is a UUID, else a hash of it."""
    try:
        trace = uuid.UUID(request_id).hex
    except ValueError:
        trace = hashlib.sha256(request_id.encode()).hexdigest()[:32]
    return trace, _derived(trace, 0)


def _derived(id: str, place: int) -> str:
    return hashlib.sha256(f"{id}/{place}".encode()).hexdigest()[:16]
