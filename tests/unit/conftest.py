import asyncio
import itertools

import pytest

from tests.contracts.speaker import Decoders
from tests.registries import steady


@pytest.fixture(scope="session")
def kernels():
    """A KernelRegistry, one for all tests: the first use of a kernel tests it."""
    return asyncio.run(steady())


@pytest.fixture
def speakers(kernels):
    """Models from GGUF files; a module of models of another kind has its own."""
    return Decoders(kernels)


@pytest.fixture
def as_file(tmp_path):
    """(bytes) to a path that ``models.load`` takes."""
    count = itertools.count()

    def as_file(data):
        path = tmp_path / f"model-{next(count)}.gguf"
        path.write_bytes(data)
        return path

    return as_file
