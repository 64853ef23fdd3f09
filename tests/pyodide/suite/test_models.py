import asyncio

import js
import numpy as np
import pytest

from pyruvllm import host
from pyruvllm.errors import CorruptError
from tests.contracts.files import FilesContract
from tests.contracts.generated import GeneratedFromFilesContract


async def emptied(kind):
    files = await host.current().files(kind)
    for name in await files.sizes():
        await files.delete(name)
    return files


class TestChunks(FilesContract):
    @pytest.fixture
    async def files(self):
        return await emptied("indexeddb")

    @pytest.mark.chromium
    async def test_one_at_a_time_writes(self, files):
        """Node has no locks, and no second tab."""
        await super().test_one_at_a_time_writes(files)


@pytest.mark.chromium
class TestPrivateFileSystem(FilesContract):
    @pytest.fixture
    async def files(self):
        files = await emptied(None)
        assert files.kind == "opfs"
        return files


async def test_a_dropped_file_is_read_in_any_order():
    data = np.random.default_rng(1).integers(0, 256, 3_000_000, np.uint8)
    file = host.current().file(js.Blob.new(host.current().to_js([data.tobytes()])))

    async def read(start, length):
        room = np.zeros(length, np.uint8)
        await file.read_into(start, room)
        np.testing.assert_array_equal(room, data[start : start + length])

    for start, length in ((0, 100), (100, 2_000_000), (2_000_032, 5), (2_100_000, 7), (5, 2_999_995), (17, 0), (2_999_999, 1)):
        await read(start, length)
    await asyncio.gather(*(read(start, 900_000) for start in (0, 900_000, 1_800_000)))
    with pytest.raises(CorruptError, match="ends at byte 3000000"):
        await file.read_into(2_999_999, np.zeros(2, np.uint8))
    await read(2_999_990, 10)
    await file.close()


class TestGenerated(GeneratedFromFilesContract):
    @pytest.fixture
    def as_file(self):
        return lambda data: js.Blob.new(host.current().to_js([data]))
