"""What the page can ask of the witness log. Further methods of service.py, in the same namespace.

``criteria`` are those of ``pyruvllm.memory.audit.criteria``; ``archived`` asks the archive that is open instead of the log.
"""

import time
from dataclasses import asdict

from pyruvllm.errors import NotFoundError
from pyruvllm.memory.audit.retention import Retention

opened = None  # the archive that is looked at


def asked_log(archived):
    if archived and opened is None:
        raise NotFoundError("no archive is open")
    return opened.log if archived else llm.witness  # noqa: F821


@method  # noqa: F821
async def witness(emit, limit=50, offset=0, criteria=None, about=None, like=None, question=None, archived=False):
    log, criteria, facts = asked_log(archived), criteria or {}, {}
    if question == "low_quality":
        found = log.low_quality(limit=limit, offset=offset)
    elif question == "similar_errors":
        latest = like or next((entry.request_id for entry in (await log.find(error=True, limit=1)).entries), None)
        found = await log.similar_errors(latest, limit) if latest else await log.find(error=True)
        facts = {"like": shown(log.get(latest)) if latest else None}
    elif question == "latency_spikes":
        found = log.latency_spikes(limit=limit)
        facts = {"median_ms": found.median_ms, "threshold_ms": found.threshold_ms}
    else:
        found = await log.find(about, like=like, limit=limit, offset=offset, **criteria)
        facts = {"like": shown(log.get(like))} if like else {}
    return {"total": found.total, "entries": [shown(entry) for entry in found.entries], **facts}


def shown(entry):
    return {
        "id": entry.request_id,
        "session": entry.session_id,
        "query": entry.query,
        "model": entry.model_used,
        "generated": asdict(entry.generated) if entry.generated else None,
        "quality": entry.quality_score,
        "latency": asdict(entry.latency),
        "routing": asdict(entry.routing_decision),
        "sources": len(entry.context_doc_ids),
        "timestamp": entry.timestamp,
        "error": asdict(entry.error) if entry.error else None,
        "hold": entry.hold,
    }


BUCKETS = [minutes * 60_000 for minutes in (5, 60, 6 * 60, 24 * 60, 7 * 24 * 60, 30 * 24 * 60)]  # milliseconds
COLUMNS = 42  # at most in a chart


@method  # noqa: F821
async def witness_summary(emit, origin, criteria=None, archived=False):
    """The figures, and what a filter may choose among: all models and kinds of errors that there are. Buckets suit the span of time."""
    log, criteria = asked_log(archived), criteria or {}
    total = log.aggregate(None, **criteria).total
    span = total.end - total.start
    bucket_ms = next((size for size in BUCKETS if span <= size * COLUMNS), BUCKETS[-1] * (1 + span // (BUCKETS[-1] * COLUMNS)))
    summary = log.aggregate(bucket_ms, origin=origin, **criteria)
    return {
        "total": figures(summary.total),
        "buckets": [figures(bucket) for bucket in summary.buckets],
        "bucket_ms": bucket_ms,
        "trend": summary.trend,
        "models": sorted({model for (model,) in log.rows("DISTINCT w.model")}),
        "kinds": sorted({kind for (kind,) in log.rows("DISTINCT w.error_kind") if kind}),
        "retention": asdict(llm.witness.retention),  # noqa: F821
    }


def figures(of):
    return {**asdict(of), "error_rate": of.error_rate}


@method  # noqa: F821
async def witness_verify(emit, head=None):
    def progress(done, total):
        emit({"type": "progress", "label": "Checking the log", "done": done, "total": total})

    verdict = await llm.witness.verify(head, progress=progress)  # noqa: F821
    return {**asdict(verdict), "broken": str(verdict.broken) if verdict.broken else None}


@method  # noqa: F821
async def witness_hold(emit, id, reason=None):
    log = llm.witness  # noqa: F821
    await (log.hold(reason, [id]) if reason else log.release([id]))
    return shown(log.get(id))


@method  # noqa: F821
async def witness_keep(emit, max_age_ms=None, max_entries=None):
    return asdict(await llm.witness.keep(Retention(max_age_ms, max_entries)))  # noqa: F821


@method  # noqa: F821
async def witness_export(emit, format, text=False, criteria=None, archived=False):
    log = asked_log(archived)
    if format == "otlp":
        return {"name": f"witness-{today()}.otlp.json", "bytes": log.otlp(text=text, **(criteria or {})).encode()}
    return {"name": f"witness-{today()}.jsonl", "bytes": "".join(log.jsonl(text=text, **(criteria or {}))).encode()}


@method  # noqa: F821
async def witness_archive(emit, until):
    """The file goes to the page in parts as it is made; the log keeps its entries until ``witness_clear``."""

    def progress(done, total):
        emit({"type": "progress", "label": "Archiving", "done": done, "total": total})

    made = await llm.witness.archive(lambda part: emit({"type": "part", "bytes": part}), until=until, progress=progress)  # noqa: F821
    return {"name": f"witness-{today()}.ruvw", "id": made.id, "entries": made.entries}


@method  # noqa: F821
async def witness_clear(emit, id):
    return asdict(await llm.witness.clear(id))  # noqa: F821


@method  # noqa: F821
async def witness_open(emit, bytes):
    global opened
    found = await llm.witness.open_archive(bytes)  # noqa: F821
    await witness_close(emit)
    opened = found
    return {"made_at": found.made_at, "entries": found.entries, "sealed": found.sealed}


@method  # noqa: F821
async def witness_close(emit):
    global opened
    if opened is not None:
        closing, opened = opened, None
        await closing.close()
    return {}


def today():
    return time.strftime("%Y-%m-%d", time.gmtime(llm.config.clock.now_ms() / 1000))  # noqa: F821
