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
    shelf, report = llm.models, throttled(emit)  # noqa: F821
    if file is not None and keep:
        id, file = (await shelf.keep(file, str(file.name), report)).id, None
    return {"loaded": told(await shelf.load(file if file is not None else id, context=context, progress=report))}


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
