import pytest

from tests.contracts.speaker import Decoders
from tests.registries import steady


@pytest.fixture(scope="session")
async def kernels():
    """A KernelRegistry, one for all tests: the first use of a kernel tests it."""
    return await steady()


@pytest.fixture
def speakers(kernels):
    """Models from GGUF files; a module of models of another kind has its own."""
    return Decoders(kernels)
