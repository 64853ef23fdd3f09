import itertools

import pytest

from tests.contracts.beside import BesideContract


@pytest.fixture
def as_file(tmp_path):
    count = itertools.count()

    def as_file(data):
        path = tmp_path / f"model-{next(count)}.gguf"
        path.write_bytes(data)
        return path

    return as_file


class TestNative(BesideContract):
    pass
