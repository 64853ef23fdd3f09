import pytest

from pyruvllm.host.native_files import FolderFiles
from tests.contracts.files import FilesContract


@pytest.fixture
def files(tmp_path):
    return FolderFiles(tmp_path / "models")


class TestFolder(FilesContract):
    pass
