"""Exported spans are what the protocol's own messages say, and a collector would read them so."""

import base64
import json
import re

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pyruvllm.memory.witness import WitnessLog
from pyruvllm.types import ErrorInfo, Latency
from tests.contracts.stores import entry, opening

NOW = 1_700_000_000_000
REQUEST = "3f2a54a6-0000-4000-8000-00000000abcd"


@pytest.fixture
async def log(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        log = WitnessLog(await open_memory())
        log.record(entry(1, request_id=REQUEST, quality_score=0.75, latency=Latency(1.5, 2.25, 0.125, 0.0, 3.0, 7.0)))
        log.record(entry(2, error=ErrorInfo("QuotaError", "the disk is full"), context_doc_ids=(), hold="case 12"))
        yield log
        await log.close()


def parsed(text: str) -> list[Span]:
    """The spans, read by protobuf, which refuses unknown fields and wrong types. Its JSON has ids in base64, OTLP's in hexadecimal."""
    request = json.loads(text)
    for span in request["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name, digits in (("traceId", 32), ("spanId", 16), ("parentSpanId", 16)):
            if name in span:
                assert re.fullmatch(f"[0-9a-f]{{{digits}}}", span[name])
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        assert isinstance(span["startTimeUnixNano"], str) and isinstance(span["kind"], int)
    message = json_format.ParseDict(request, ExportTraceServiceRequest())
    [resource] = message.resource_spans
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [("service.name", "pyruvllm")]
    [scope] = resource.scope_spans
    return list(scope.spans)


def attributes(span: Span) -> dict:
    def plain(value):
        kind = value.WhichOneof("value")
        return [plain(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)

    return {each.key: plain(each.value) for each in span.attributes}


async def test_a_request_is_a_trace_of_its_steps(log):
    spans = [span for span in parsed(log.otlp()) if span.trace_id.hex() == REQUEST.replace("-", "")]
    whole, *steps = spans
    assert (whole.name, whole.kind, whole.status.code) == ("chat 1.2B", Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_OK)
    start = (NOW + 1) * 1_000_000
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (start, start + 7_000_000)
    names = ["embeddings", "retrieval", "pyruvllm.route", "pyruvllm.generate"]  # nothing was attended to
    assert [step.name for step in steps] == names and not whole.parent_span_id
    assert all(step.parent_span_id == whole.span_id and step.kind == Span.SPAN_KIND_INTERNAL for step in steps)
    times = [start + each for each in (0, 1_500_000, 3_750_000, 3_875_000, 6_875_000)]
    assert [(step.start_time_unix_nano, step.end_time_unix_nano) for step in steps] == list(zip(times, times[1:], strict=False))
    assert len({span.span_id for span in spans}) == 5 and all(len(span.span_id) == 8 for span in spans)


async def test_attributes_have_the_names_and_types_of_the_conventions(log):
    whole, _, retrieval, *_ = parsed(log.otlp(session="session-1"))
    found = attributes(whole)
    assert found["gen_ai.operation.name"] == "chat" and found["gen_ai.conversation.id"] == "session-1"
    assert found["gen_ai.request.model"] == "1.2B" and found["gen_ai.response.model"] == "extractive"
    assert found["gen_ai.response.id"] == REQUEST
    assert (found["gen_ai.request.temperature"], found["gen_ai.request.top_p"]) == (0.7, 0.9)
    assert found["pyruvllm.routing.context_size"] == 2048 and isinstance(found["pyruvllm.routing.context_size"], int)
    assert found["pyruvllm.routing.model_probabilities"] == [0.1, 0.2, 0.6, 0.1]
    assert found["pyruvllm.routing.policy"] == "some-policy" and "error.type" not in found
    [event] = whole.events
    assert event.name == "gen_ai.evaluation.result"
    assert attributes(event) == {"gen_ai.evaluation.name": "quality", "gen_ai.evaluation.score.value": 0.75}
    documents = json.loads(attributes(retrieval)["gen_ai.retrieval.documents"])
    assert documents == [{"id": "passage-1"}, {"id": "passage-x"}]
    assert attributes(retrieval)["gen_ai.operation.name"] == "retrieval"


async def test_a_failure_is_one_and_its_words_are_told_only_if_asked_for(log):
    whole = parsed(log.otlp(error=True))[0]
    assert whole.status.code == Status.STATUS_CODE_ERROR and not whole.status.message
    assert attributes(whole)["error.type"] == "QuotaError" and attributes(whole)["pyruvllm.hold"] == "case 12"
    assert len(whole.trace_id) == 16 and not whole.events
    plain = log.otlp()
    assert "disk is full" not in plain and "matter" not in plain
    whole, _, retrieval, *_ = parsed(log.otlp(text=True, error=True))
    assert whole.status.message == attributes(whole)["error.message"] == "the disk is full"
    assert attributes(retrieval)["gen_ai.retrieval.query.text"] == "what about matter number2 and harbour?"


async def test_no_entry_is_a_request_without_spans(log):
    assert parsed(log.otlp(session="nobody")) == []
