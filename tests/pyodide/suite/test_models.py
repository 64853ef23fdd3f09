import js
import pytest

from pyruvllm import host
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


class TestGenerated(GeneratedFromFilesContract):
    @pytest.fixture
    def as_file(self):
        return lambda data: js.Blob.new(host.current().to_js([data]))
