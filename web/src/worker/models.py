"""Language models: what the page can ask of them. Runs after ``service.py``, in its namespace."""

import time
from dataclasses import asdict

from pyruvllm.errors import NotFoundError, RuvLLMError
from pyruvllm.models.catalog import BUILT_IN, CATALOG, CONTEXT

EVERY_S = 0.1  # between two events that tell how far something is


@method  # noqa: F821
async def models(emit):
    """What is loaded, what lies on this device, and what can be had."""
    shelf, kept, kind, problem = llm.models, [], None, None  # noqa: F821
    try:
        store = await shelf.store()
        kind, kept = store.kind, await store.list()
    except RuvLLMError as error:
        problem = str(error)
    built_in = await shelf.built_in()
    return {
        "loaded": told(shelf.loaded),
        "kernels": llm.kernels is not None,  # noqa: F821
        "built_in": asdict(built_in) if built_in else None,
        "store": {"kind": kind, "problem": problem},
        "kept": [{**asdict(model), "complete": model.complete and model.done == model.size} for model in kept],
        "catalog": [entered(shelf, entry) for entry in CATALOG],
        "adapters": [asdict(adapter) for adapter in shelf.adapters.list()],
    }


def entered(shelf, entry):
    need = entry.footprint(CONTEXT)
    fields = ("id", "title", "maker", "url", "size", "quantization", "licence", "template")
    fit = asdict(shelf.fits(need.total))
    return {**{name: getattr(entry, name) for name in fields}, "pinned": entry.sha256 is not None, "need": need.total, "fit": fit}


def told(loaded):
    return None if loaded is None else asdict(loaded)


@method  # noqa: F821
async def model_load(emit, id=None, file=None, keep=False, context=CONTEXT):
    """By id, address, or of a file that was dropped; keep: with a copy of the file on this device."""
    source, report = await sourced(emit, id, file, keep)
    return {"loaded": told(await llm.models.load(source, context=context, progress=report))}  # noqa: F821


@method  # noqa: F821
async def draft_load(emit, id=None, file=None, keep=False):
    """What guesses for the model that is loaded."""
    source, report = await sourced(emit, id, file, keep)
    return {"draft": told(await llm.models.load_draft(source, progress=report))}  # noqa: F821


async def sourced(emit, id, file, keep):
    """What a model is loaded from, and who is told how far that is."""
    report = throttled(emit)
    if file is not None and keep:
        return (await llm.models.keep(file, str(file.name), report)).id, report  # noqa: F821
    return (file if file is not None else id), report


@method  # noqa: F821
async def draft_unload(emit):
    await llm.models.unload_draft()  # noqa: F821
    return {}


@method  # noqa: F821
async def adapter_add(emit, file):
    return {"adapter": asdict(await llm.models.adapters.add(file))}  # noqa: F821


@method  # noqa: F821
async def adapter_remove(emit, name):
    await llm.models.adapters.remove(name)  # noqa: F821
    return {}


@method  # noqa: F821
async def session_adapter(emit, session, adapter=None):
    """What a conversation, begun or not, is answered with from here on."""
    llm.sessions.open(session)  # noqa: F821
    llm.sessions.switch_adapter(session, adapter)  # noqa: F821
    await llm.flush()  # noqa: F821
    return {}


@method  # noqa: F821
async def model_unload(emit):
    await llm.models.unload()  # noqa: F821
    return {"heap_bytes": host.current().memory_bytes()}  # noqa: F821


@method  # noqa: F821
async def model_download(emit, id, restart=False):
    """Cancelled it is paused: what came stays."""
    return {"kept": asdict(await llm.models.download(id, restart=restart, progress=throttled(emit)))}  # noqa: F821


@method  # noqa: F821
async def model_delete(emit, id):
    shelf = llm.models  # noqa: F821
    if shelf.loaded is not None and shelf.loaded.id == id != BUILT_IN:
        await shelf.unload()
    try:
        await (await shelf.store()).delete(id)
    except NotFoundError:
        pass  # another tab was faster
    return {}


def throttled(emit):
    last = {"label": "", "at": 0.0}

    def report(label, done, total):
        now = time.monotonic()
        if label != last["label"] or now - last["at"] > EVERY_S or done == total:
            last.update(label=label, at=now)
            emit({"type": "progress", "label": label, "done": done, "total": total})

    return report
