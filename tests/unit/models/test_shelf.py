"""Where a model can come from: the network with and without a copy, what comes with the package, a path."""

import hashlib
import tracemalloc

import numpy as np
import pytest

from pyruvllm.config import Clock
from pyruvllm.errors import HostError, ModelError, NotFoundError
from pyruvllm.host import Device
from pyruvllm.host.native import NativeHost
from pyruvllm.models import builtin, catalog
from pyruvllm.models.parts import Parts
from pyruvllm.models.shape import Shape
from pyruvllm.models.shelf import ModelShelf
from pyruvllm.models.source import Bytes, head_of
from tests.generators.fileserver import FileServer
from tests.generators.scripted import scripted_model

DATA = scripted_model(["It says", " this."])


@pytest.fixture(scope="module")
def server():
    with FileServer() as server:
        yield server


@pytest.fixture
def shelf(kernels, tmp_path, monkeypatch):
    monkeypatch.setenv("PYRUVLLM_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PYRUVLLM_ASSETS", str(tmp_path / "assets"))
    return ModelShelf(lambda: kernels, NativeHost(), Clock())


async def said(shelf):
    return await shelf.model.chat([{"role": "user", "content": "Speak"}], max_tokens=9).text()


async def test_an_address_is_kept_or_read_straight_into_memory(shelf, server):
    url, told = server.put("parrot.gguf", DATA), []
    loaded = await shelf.load(url, keep=False, progress=lambda *step: told.append(step))
    assert (loaded.name, loaded.architecture, await said(shelf)) == ("parrot", "llama", "It says this.")
    assert await (await shelf.store()).list() == [] and len(server.files["parrot.gguf"].asked) == 1
    assert told[-1][0] == "Loading into memory" and told[-1][1] == told[-1][2]
    kept = await shelf.load(url)
    (stored,) = await (await shelf.store()).list()
    assert kept.id == stored.id and stored.sha256 == hashlib.sha256(DATA).hexdigest()
    await shelf.load(stored.sha256)
    assert len(server.files["parrot.gguf"].asked) == 2 and await said(shelf) == "It says this."


async def test_a_catalogue_entry_is_downloaded_once(shelf, server, monkeypatch):
    from dataclasses import replace

    entry = replace(catalog.CATALOG[0], url=server.put("lfm2.gguf", DATA), sha256=hashlib.sha256(DATA).hexdigest())
    monkeypatch.setattr(catalog, "CATALOG", (entry,))
    await shelf.load("lfm2-350m")
    await shelf.load("lfm2-350m")
    (stored,) = await (await shelf.store()).list()
    assert (stored.entry, stored.trust, len(server.files["lfm2.gguf"].asked)) == ("lfm2-350m", "known", 1)


async def test_the_model_that_comes_with_the_package(shelf, monkeypatch):
    assert (await shelf.built_in()).size == len(builtin.data())
    loaded = await shelf.load("built-in")
    assert loaded.id == "built-in" and loaded.architecture == "lfm2" and await said(shelf)

    def missing():
        raise ModelError("small.gguf is missing")

    monkeypatch.setattr(builtin, "about", missing)
    assert await shelf.built_in() is None
    with pytest.raises(NotFoundError, match="without a built-in model"):
        await shelf.load("built-in")
    assert shelf.loaded.id == "built-in", "the one before stays"


async def test_what_has_no_room_is_refused_before_the_loaded_one_goes(shelf, tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(DATA)
    await shelf.load(tmp_path / "a.gguf")
    monkeypatch.setattr(NativeHost, "device", lambda self: Device(None, None, 1 << 20))
    with pytest.raises(ModelError, match="does not fit. It needs"):
        await shelf.load(str(tmp_path / "a.gguf"))
    assert shelf.loaded.name == "parrot" and await said(shelf) == "It says this."


async def test_without_kernels_there_is_no_model(tmp_path):
    with pytest.raises(HostError, match="need kernels"):
        await ModelShelf(lambda: None, NativeHost(), Clock()).load(tmp_path / "a.gguf")


async def test_a_file_is_never_in_memory_whole(kernels):
    """Beside the weights there is one slice of it: what Python allocates is watched, and how much is asked for at once."""
    data, asked = scripted_model(["It says", " this."], layers=40), []

    class Watched(Bytes):
        async def read_into(self, offset, room):
            asked.append(room.size)
            await super().read_into(offset, room)

    file = Watched(data)
    head = await head_of(file)
    asked.clear()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    parts = await Parts.load(head, Shape.of(head.metadata), file, kernels)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert parts.nbytes > 40_000_000 and max(asked) <= 4 << 20 and sum(asked) == sum(t.size for t in head.tensors.values())
    assert peak < 10_000_000, "the arena is not Python's memory"
    assert np.array_equal(parts.matrices["token_embd"].dequantised()[0], np.eye(1, 272)[0])
