import itertools

import pytest
import pytest_asyncio

from pyruvllm.config import Clock
from pyruvllm.memory.kernels import open_registry
from pyruvllm.storage import open_driver
from tests.contracts.generated import GeneratedContract


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernels():
    driver = await open_driver(":memory:")
    registry = await open_registry(driver, Clock())
    await driver.close()
    return registry


@pytest.fixture
def as_file(tmp_path):
    count = itertools.count()

    def as_file(data):
        path = tmp_path / f"model-{next(count)}.gguf"
        path.write_bytes(data)
        return path

    return as_file


class TestNative(GeneratedContract):
    pass
