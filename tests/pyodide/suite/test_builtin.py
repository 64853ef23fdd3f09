import pytest

from pyruvllm.config import Clock
from pyruvllm.memory.kernels import open_registry
from pyruvllm.storage import open_driver
from tests.contracts.builtin import BuiltinContract

OPENED = []  # once for all tests: the first use of a kernel tests it


@pytest.fixture
async def kernels():
    if not OPENED:
        driver = await open_driver(":memory:")
        OPENED.append(await open_registry(driver, Clock()))
        await driver.close()
    return OPENED[0]


class TestPyodide(BuiltinContract):
    pass
