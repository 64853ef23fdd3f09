import pytest

from tests.registries import steady


@pytest.fixture(scope="session")
async def kernels():
    """A KernelRegistry, one for all tests: the first use of a kernel tests it."""
    return await steady()
