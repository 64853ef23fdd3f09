"""What a host's store of big files promises, and a model kept in it."""

import hashlib

import numpy as np
import pytest

from pyruvllm.errors import ModelError, RuvLLMError, StorageError
from pyruvllm.host import current
from pyruvllm.models.language import LanguageModel
from pyruvllm.models.sampling import Sampling
from pyruvllm.models.source import Bytes
from pyruvllm.models.store import ModelStore
from tests.generators.scripted import scripted_model

DATA = np.random.default_rng(3).bytes(2_500_000)  # more than two chunks


class FilesContract:
    """Bound by fixtures ``files``, empty, and ``kernels``."""

    async def test_a_file_grows_at_its_end_and_is_read_anywhere(self, files):
        assert await files.sizes() == {}
        for start in range(0, len(DATA), 700_000):
            file = await files.open("a.gguf", write=True)
            assert file.size == start
            await file.append(DATA[start : start + 300_000])
            await file.append(DATA[start + 300_000 : start + 700_000])
            room = np.empty(1000, np.uint8)
            await file.flush()
            await file.read_into(start, room)
            assert room.tobytes() == DATA[start : start + 1000]
            await file.close()
        assert await files.sizes() == {"a.gguf": len(DATA)}
        file = await files.open("a.gguf")
        for offset, size in ((0, len(DATA)), (1, 10), (1_048_570, 20), (len(DATA) - 1, 1), (999_999, 1_200_000)):
            room = np.empty(size, np.uint8)
            await file.read_into(offset, room)
            assert room.tobytes() == DATA[offset : offset + size]
        with pytest.raises(StorageError):
            await file.read_into(len(DATA) - 5, np.empty(10, np.uint8))
        await file.close()

    async def test_it_is_read_into_its_place_in_a_larger_array(self, files):
        file = await files.open("b.gguf", write=True)
        await file.append(DATA[:1000])
        room = np.zeros(30, np.uint8)
        await file.read_into(100, room[10:20])
        await file.close()
        assert room.tobytes() == bytes(10) + DATA[100:110] + bytes(10)

    async def test_deleted_it_is_gone(self, files):
        for _ in range(2):
            file = await files.open("c.gguf", write=True)
            await file.append(b"abc")
            await file.close()
            await files.delete("c.gguf")
            assert await files.sizes() == {}
        await files.delete("c.gguf")
        with pytest.raises(RuvLLMError):
            await files.open("c.gguf")

    async def test_one_at_a_time_writes(self, files):
        file = await files.open("d.gguf", write=True)
        with pytest.raises(StorageError, match="another (tab|process) works on"):
            await files.open("d.gguf", write=True)
        await file.close()
        await (await files.open("d.gguf", write=True)).close()

    async def test_several_read_at_a_time(self, files):
        file = await files.open("e.gguf", write=True)
        await file.append(DATA[:1000])
        await file.close()
        readers = [await files.open("e.gguf") for _ in range(3)]
        room = np.empty(1000, np.uint8)
        for reader in readers:
            await reader.read_into(0, room)
            assert room.tobytes() == DATA[:1000]
        for reader in readers:
            await reader.close()

    async def test_notes_are_put_and_taken_away(self, files):
        assert await files.note("n") is None
        await files.keep("n", b"{}")
        await files.keep("n", b"{1}")
        assert await files.note("n") == b"{1}" and await files.sizes() == {}
        await files.keep("n", None)
        await files.keep("n", None)
        assert await files.note("n") is None

    async def test_a_model_is_kept_and_loaded_from_there(self, files, kernels):
        store, data = ModelStore(files, current()), scripted_model(["It says", " this."], layers=2)
        kept = await store.add(Bytes(data), "parrot.gguf")
        assert (kept.sha256, kept.size, kept.trust) == (hashlib.sha256(data).hexdigest(), len(data), "file")
        with pytest.raises(ModelError, match="no GGUF file"):
            await store.add(Bytes(b"PK" + data), "zip")
        assert [model.name for model in await store.list()] == ["parrot.gguf"]
        file = await store.open(kept.sha256)
        model = await LanguageModel.load(file, kernels)
        await file.close()
        text = await model.chat([{"role": "user", "content": "Speak"}], Sampling(temperature=0)).text()
        assert text == "It says this."
        await store.delete(kept.id)
        assert await store.list() == []
