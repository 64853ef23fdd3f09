import asyncio

import pytest

from pyruvllm.config import Clock
from pyruvllm.memory.kernels import open_registry
from pyruvllm.storage import open_driver
from tests.contracts.builtin import BuiltinContract


async def opened():
    driver = await open_driver(":memory:")
    try:
        return await open_registry(driver, Clock())
    finally:
        await driver.close()


@pytest.fixture(scope="module")
def kernels():
    return asyncio.run(opened())


class TestNative(BuiltinContract):
    pass
