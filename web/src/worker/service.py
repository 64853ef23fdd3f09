"""What the page can ask of the worker: one function a method of the protocol, JSON in and JSON out.

Runs in the page's worker, over ``pyruvllm``; ``worker.ts`` calls ``handle`` and carries messages.
"""

import time
from dataclasses import asdict

import pyruvllm
from pyruvllm import host
from pyruvllm.config import GenerationConfig
from pyruvllm.errors import QuotaError, RuvLLMError, StorageError
from pyruvllm.storage import delete_database, protection_of

llm = None
database = ""
methods = {}
WITNESS = ("witness_hold", "witness_keep", "witness_archive", "witness_clear")
OF_THE_WRITER = (*WITNESS, "adapter_add", "adapter_remove", "session_adapter")  # where another tab is it, this one becomes it


def method(function):
    methods[function.__name__.rstrip("_")] = function
    return function


async def handle(name, params, emit):
    """Runs one method. ``emit(dict)`` sends an event to the caller before the result."""
    if name not in methods:
        raise RuvLLMError(f"the worker has no method {name!r}; it has {', '.join(sorted(methods))}")
    if llm is None and name not in ("start", "protection", "erase"):
        raise RuvLLMError(f"{name} came before start")
    if name in OF_THE_WRITER:
        await llm.take_over()
    return await methods[name](emit, **params)


@method
async def start(emit, database, passphrase=None, device_key=None):
    global llm
    globals()["database"] = database
    begun, laps = time.perf_counter(), {}

    def progress(label, done, total):
        laps.setdefault(label, time.perf_counter())
        emit({"type": "progress", "stage": label, "label": STAGES[label], "done": done, "total": total})

    llm = await pyruvllm.open(database, progress=progress, passphrase=passphrase, device_key=device_key)
    ready = time.perf_counter()
    llm.memory.driver.on_lost(lambda reason: emit({"type": "lost", "reason": reason}))
    llm.on_role(lambda what, why: emit({"type": "changed"} if what == "refreshed" else {"type": "role", "role": what, "reason": why}))
    ends = [*list(laps.values())[1:], ready]
    return {
        "role": llm.role,
        "protection": protection(),
        "version": pyruvllm.__version__,
        "space": llm.memory.embedder.space.key,
        "timings": {label: (end - at) * 1000 for (label, at), end in zip(laps.items(), ends, strict=True)}
        | {"open": (ready - begun) * 1000},
        "counts": counts(),
    }


@method
async def protection_(emit, database):
    globals()["database"] = database
    found = await protection_of(database)
    return {"protection": asdict(found) if found else None}


@method
async def protect(emit, passphrase=None, device_key=False):
    await llm.protect(passphrase=passphrase, device_key=device_key)
    return {"protection": protection()}


@method
async def unprotect(emit):
    await llm.unprotect()
    return {"protection": protection()}


@method
async def change_keys(emit, current=None, passphrase=None, device_key=False):
    await llm.change_keys(current=current, passphrase=passphrase, device_key=device_key)
    return {"protection": protection()}


@method
async def lock(emit):
    """Saves and closes; the page then ends this worker, and its memory with it."""
    global llm
    await llm.lock()
    llm = None
    return {}


def protection():
    return asdict(llm.protection) if llm.protection else None


STAGES = {"memory": "Opening the memory", "model": "Loading the embedding model"}


@method
async def remember(emit, items):
    documents, skipped = [], []
    for place, item in enumerate(items):

        def progress(done, total, place=place, item=item):
            emit({"type": "progress", "label": item["title"], "done": done, "total": total, "item": place, "items": len(items)})

        try:
            document = await llm.remember(item["text"], title=item["title"], media_type=item["media_type"], progress=progress)
            documents.append(asdict(document))
        except StorageError:
            raise
        except RuvLLMError as error:
            skipped.append({"title": item["title"], "reason": str(error)})
    return {"documents": documents, "skipped": skipped}


@method
async def remember_samples(emit):
    questions, notes = notebook((await host.current().asset("samples/notebook.md")).decode())
    documents = []
    for place, (title, text) in enumerate(notes):
        documents.append(asdict(await llm.remember(text, title=title, metadata={"notebook": "Marta's notebook"})))
        emit({"type": "progress", "label": title, "done": place + 1, "total": len(notes)})
    return {"documents": documents, "skipped": [], "questions": questions}


def notebook(markdown):
    """The sample notebook: its questions, and its notes as (title, text) with each paragraph on one line."""
    sections = [section.partition("\n")[::2] for section in markdown.split("\n## ")[1:]]
    (_, questions), *notes = sections
    return (
        [line[2:] for line in questions.splitlines() if line.startswith("- ")],
        [
            (title, "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()))
            for title, text in notes
        ],
    )


@method
async def documents(emit):
    return {"documents": [asdict(document) for document in llm.documents.list()]}


@method
async def document(emit, id):
    passages = [
        {
            "id": passage.id,
            "text": passage.text,
            **{key: passage.metadata.get(key) for key in ("ordinal", "start", "end", "heading")},
        }
        for passage in llm.documents.passages(id)
    ]
    return {"document": asdict(llm.documents.get(id)), "text": llm.documents.text(id), "passages": passages}


@method
async def forget(emit, document=None, session=None, despite_hold=False):
    return {"removed": asdict(await llm.forget(document=document, session=session, despite_hold=despite_hold))}


asking = {}  # answers on their way, by session


@method
async def ask(emit, text, session=None, settings=None):
    """settings: fields of a GenerationConfig, for an answer that a model writes."""
    stream, told = llm.stream(text, session=session, generation=GenerationConfig(**settings) if settings else None), False
    asking[session] = stream
    try:
        async for piece in stream:
            if not told:
                emit({"type": "sources", "sources": [asdict(source) for source in stream.sources], "generating": stream.generating})
                told = True
            if piece:
                emit({"type": "piece", "text": piece})
    finally:
        del asking[session]
    answer = asdict(stream.answer)
    try:
        await llm.flush()  # what is shown as finished is there after a reload
    except QuotaError as error:  # the answer stands, and a later flush tries again
        emit({"type": "unsaved", "message": str(error)})
    except StorageError:
        answer["recorded"] = False
    return answer


@method
async def stop(emit, session):
    """Ends the answer that a model writes there: it stays as far as it is."""
    if session in asking:
        asking[session].stop()
    return {}


@method
async def flush(emit):
    await llm.flush()
    return {}


@method
async def feedback(emit, id, quality):
    await llm.feedback(id, quality)
    return {}


@method
async def sessions(emit):
    rows = llm.sessions.list()
    return {"sessions": [{"id": s.id, "title": s.title, "turn_count": s.turn_count, "last_active": s.last_active} for s in rows]}


@method
async def session(emit, id):
    return {
        "turns": [
            {"role": turn.role, "text": turn.text, "created_at": turn.created_at, "answer": rated(answer) if answer else None}
            for turn, answer in llm.history(id)
        ],
        "adapter": llm.sessions.get(id).active_adapter,
    }


def rated(answer):
    return {**asdict(answer), "quality": llm.witness.get(answer.id).quality_score}


@method
async def stats(emit):
    queue = llm.witness.queue
    return {
        "storage": {
            "database_bytes": llm.memory.driver.size(),
            "quota_bytes": None,
            "usage_bytes": None,
            "persisted": None,
        },  # the page knows
        "memory": {"heap_bytes": host.current().memory_bytes()},
        "counts": counts(),
        "space": llm.memory.embedder.space.key,
        "writeback": {"queued": len(queue), "written": queue.written, "dropped": queue.dropped},
        "durable_ms": llm.memory.driver.durable_ms,
    }


@method
async def storage(emit):
    found = await llm.storage()
    shares = [{"name": name, "bytes": share.bytes, **asdict(share)} for name, share in found.collections.items()]
    return {"report": {**asdict(found), "collections": sorted(shares, key=lambda share: -share["bytes"])}}


@method
async def make_room(emit):
    return {"room": asdict(await llm.make_room())}


def counts():
    return {
        "documents": len(llm.documents.list()),
        "passages": llm.memory.count("documents"),
        "sessions": llm.memory.count("sessions"),
        "witness": llm.witness.count(),
    }


@method
async def kernels(emit):
    """What computes here: what the registry says of itself, and of each operation what it does and, where it was used, why by what."""
    registry = llm.kernels
    if registry is None:
        return {"kernels": None}
    library, status = registry.library, registry.status()
    operations = [
        {
            "name": name,
            "does": " ".join(library.operations[name].doc.split()).partition(". ")[0].rstrip("."),
            "compiled": len(library.names(name)) > 1,  # the last one is the twin in numpy
            "explained": registry.explain(name) if found["classes"] else None,
            "classes": found["classes"],
        }
        for name, found in sorted(status["operations"].items())
    ]
    pack = {**status["pack"], "key": library.key, "compiled": len(library.compiled)}
    return {"kernels": {**status, "pack": pack, "operations": operations}}


@method
async def export(emit, passphrase=None):
    stamp = time.strftime("%Y-%m-%d", time.gmtime(llm.config.clock.now_ms() / 1000))
    kind = "sqlite" if passphrase is None else "sealed"
    return {"name": f"{database}-{stamp}.pyruvllm.{kind}", "bytes": await llm.export(passphrase=passphrase)}


@method
async def import_(emit, bytes, passphrase=None):
    await llm.restore(bytes, passphrase=passphrase)
    return {"counts": counts()}


@method
async def erase(emit):
    global llm
    if llm is not None:
        await llm.memory.driver.close()
        llm = None
    await delete_database(database)
    return {}
