"""Model files kept on this device, fetched from a server that behaves as it is told."""

import asyncio
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import (
    ChangedError,
    ConfigError,
    DownloadError,
    HashError,
    ModelError,
    NotFoundError,
    RangeError,
    StorageError,
    TruncatedError,
    UnreachableError,
)
from pyruvllm.host import current
from pyruvllm.host.native_files import FolderFiles
from pyruvllm.models.remote import Remote
from pyruvllm.models.source import Bytes
from pyruvllm.models.store import ModelStore
from tests.generators.fileserver import FileServer

DATA = b"GGUF" + np.random.default_rng(4).bytes(700_001)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def server():
    with FileServer() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    return ModelStore(FolderFiles(tmp_path / "models"), current(), pause_ms=0)


async def content(store, id):
    file = await store.open(id)
    room = np.empty(file.size, np.uint8)
    await file.read_into(0, room)
    await file.close()
    return room.tobytes()


async def test_a_file_comes_whole_and_is_pinned_to_its_hash(store, server):
    url, told = server.put("a.gguf", DATA), []
    model = await store.download(url, progress=lambda done, total: told.append((done, total)))
    assert (model.name, model.size, model.sha256, model.trust) == ("a.gguf", len(DATA), SHA256, "first use")
    assert await content(store, model.id) == DATA and told[-1] == (len(DATA), len(DATA)) and told == sorted(told)
    assert await store.download(url) == model and len(server.files["a.gguf"].asked) == 1, "it is not fetched again"
    assert [one.id for one in await store.list()] == [model.id] and (await store.get(SHA256)).id == model.id

    await store.delete(model.id)
    server.put("a.gguf", DATA[:-1] + b"x")
    with pytest.raises(HashError, match=f"not {SHA256}, the one that came first"):
        await store.download(url)
    assert await store.list() == []


async def test_a_broken_connection_goes_on_where_it_ended(store, server):
    url = server.put("cut.gguf", DATA, cut=200_000, cuts=3)
    model = await store.download(url, sha256=SHA256)
    assert model.trust == "known" and await content(store, model.id) == DATA
    asked = server.files["cut.gguf"].asked
    assert [one.get("range") for one in asked] == [None, "bytes=200000-", "bytes=400000-", "bytes=600000-"]
    assert asked[1]["if-range"] == '"one"'


async def test_a_server_that_brings_nothing_more_is_given_up_and_what_came_is_kept(store, server):
    url = server.put("dead.gguf", DATA, cut=200_000, cuts=1)
    behaviour = server.files["dead.gguf"]

    def progress(done, total):
        behaviour.cut, behaviour.cuts = 0, 100

    with pytest.raises(TruncatedError, match="200000 bytes are kept"):
        await store.download(url, progress=progress)
    (kept,) = await store.list()
    assert (kept.done, kept.size, kept.complete) == (200_000, len(DATA), False)
    with pytest.raises(ModelError, match="200000 of 700005 bytes"):
        await store.open(kept.id)
    behaviour.cut = None
    assert (await store.download(url)).sha256 == SHA256


async def test_cancelled_it_is_paused(store, server):
    url = server.put("slow.gguf", DATA, pause=0.02)
    came = asyncio.Event()
    task = asyncio.create_task(store.download(url, progress=lambda done, total: came.set()))
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (kept,) = await store.list()
    assert 0 < kept.done < len(DATA)
    server.files["slow.gguf"].pause = 0
    model = await store.download(url)
    assert model.sha256 == SHA256 and server.files["slow.gguf"].asked[-1]["range"] == f"bytes={kept.done}-"


async def halted(store, server, name, **behaviour):
    """A download of which 100,000 bytes came; then the server behaves so."""
    url = server.put(name, DATA, cut=100_000, cuts=1)
    with pytest.raises(DownloadError):
        await store.download(url, progress=lambda done, total: server.put(name, DATA, status=404))
    server.put(name, **{"data": DATA, **behaviour})
    return url


CHANGED = {"etag": '"two"', "modified": "Sun, 02 Nov 2025 10:00:00 GMT"}


@pytest.mark.parametrize(
    ("error", "said", "behaviour"),
    [
        (RangeError, "only begin anew", {"ranges": False}),
        (RangeError, "asked for byte 100000 and sends from 100007", {"shift": 7}),
        (ChangedError, "another file now", {"data": DATA[:-5] + b"other", **CHANGED}),
        (ChangedError, "its length was 700005 and is 700000", {"data": DATA[:-5], "etag": None, "modified": None}),
        (ChangedError, "its length was 700005 and is 900000", {"total": 900_000}),
        (ChangedError, "has no byte 100000", {"data": DATA[:50_000]}),
        (DownloadError, "answered 403; 100000 bytes are kept", {"status": 403}),
        (UnreachableError, "answered 503; 100000 bytes are kept", {"status": 503}),
    ],
)
async def test_what_stands_against_going_on_is_said_and_what_came_is_kept(store, server, error, said, behaviour):
    url = await halted(store, server, "halted.gguf", **behaviour)
    with pytest.raises(error, match=said):
        await store.download(url)
    (kept,) = await store.list()
    assert kept.done == 100_000 and not kept.complete
    server.put("halted.gguf", DATA, **CHANGED)
    assert await content(store, (await store.download(url, restart=True)).id) == DATA


async def test_a_file_that_is_not_the_expected_one_is_thrown_away(store, server):
    url = server.put("lie.gguf", DATA)
    with pytest.raises(HashError, match="thrown away"):
        await store.download(url, sha256="0" * 64)
    assert await store.list() == []


async def test_a_page_instead_of_a_model_is_refused_at_its_first_bytes(store, server):
    url = server.put("page.gguf", b"<!doctype html>" + bytes(100_000))
    with pytest.raises(ModelError, match="no GGUF file: it begins with b'<!doctyp'"):
        await store.download(url)
    assert [one.done for one in await store.list()] == [0]


async def test_a_server_that_says_less_than_it_sends(store, server):
    url = server.put("less.gguf", DATA, length=1000)
    model = await store.download(url)
    assert model.size == 1000, "HTTP ends where the server says"
    with pytest.raises(ChangedError, match="has no byte 700005"):
        await store.download(server.put("more.gguf", DATA, length=len(DATA) + 10))


async def test_no_server_and_no_address(store, server):
    with FileServer() as gone:
        url = gone.put("x.gguf", DATA)
    with pytest.raises(UnreachableError, match="does not answer"):
        await store.download(url)
    with pytest.raises(ConfigError, match="no address of a file"):
        await store.download("file:///etc/passwd")


async def test_one_at_a_time_writes_a_file(store, server):
    url = server.put("two.gguf", DATA, pause=0.05)
    came = asyncio.Event()
    task = asyncio.create_task(store.download(url, progress=lambda done, total: came.set()))
    await came.wait()
    with pytest.raises(StorageError, match="another process works on"):
        await store.download(url)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_file_of_the_user_is_copied_once(store, server):
    model = await store.add(Bytes(DATA), "mine.gguf")
    assert (model.sha256, model.trust, await content(store, model.id)) == (SHA256, "file", DATA)
    assert (await store.add(Bytes(DATA), "again.gguf")).id == model.id
    assert (await store.download(server.put("same.gguf", DATA), entry="same")).id == model.id
    assert len(await store.list()) == 1 and (await store.get("same")).id == model.id
    with pytest.raises(ModelError, match="no GGUF file"):
        await store.add(Bytes(b"PK" + DATA), "zip")
    assert len(await store.list()) == 1
    with pytest.raises(NotFoundError):
        await store.get("nothing")


async def test_leftovers_without_a_note_go(store, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "old.gguf").write_bytes(DATA)
    assert await store.list() == [] and not (tmp_path / "models" / "old.gguf").exists()


class TestRemote:
    @settings(max_examples=15, deadline=None)
    @given(cuts=st.lists(st.integers(1, 400_000), max_size=3), steps=st.lists(st.integers(1, 300_000), min_size=1, max_size=6))
    def test_reads_in_order_bring_the_file_over_one_request_and_its_repairs(self, server, cuts, steps):
        url = server.put("stream.gguf", DATA, cut=cuts[0] if cuts else None, cuts=len(cuts))

        async def read():
            source, at = await Remote.open(current().request, url), 0
            for step in [1000, 2000, *steps]:  # the head is looked at twice
                room = np.empty(min(step, len(DATA) - at), np.uint8)
                await source.read_into(at, room)
                assert room.tobytes() == DATA[at : at + room.size]
                at = 0 if at == 0 and step == 1000 else at + room.size
            await source.close()

        asyncio.run(read())
        assert len(server.files["stream.gguf"].asked) <= 1 + len(cuts)

    async def test_beyond_the_end_and_far_ahead(self, server):
        source = await Remote.open(current().request, server.put("far.gguf", DATA * 4))
        room = np.empty(10, np.uint8)
        await source.read_into(2_500_000, room)
        assert room.tobytes() == (DATA * 4)[2_500_000:2_500_010]
        assert [one.get("range") for one in server.files["far.gguf"].asked] == [None, "bytes=2500000-"]
        with pytest.raises(ModelError, match="ends at byte"):
            await source.read_into(len(DATA) * 4 - 5, room)
        await source.close()
