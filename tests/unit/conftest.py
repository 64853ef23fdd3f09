import asyncio

import pytest

from tests.registries import steady


@pytest.fixture(scope="session")
def kernels():
    """A KernelRegistry, one for all tests: the first use of a kernel tests it."""
    return asyncio.run(steady())
