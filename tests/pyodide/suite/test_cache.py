import pytest

from pyruvllm.config import Clock
from pyruvllm.memory.kernels import open_registry
from pyruvllm.storage import delete_database, open_driver
from tests.contracts.adapter import AdapterContract
from tests.contracts.cache import CacheContract
from tests.contracts.cache_sessions import SessionCacheContract
from tests.contracts.decoder_cache import DecoderCacheContract
from tests.contracts.scheduler import SchedulerContract
from tests.contracts.stores import opening

OPENED = []  # once for all tests: the first use of a kernel tests it


@pytest.fixture
async def kernels():
    if not OPENED:
        driver = await open_driver(":memory:")
        OPENED.append(await open_registry(driver, Clock()))
        await driver.close()
    return OPENED[0]


@pytest.fixture
async def open_memory():
    names = set()

    def database(name: str) -> str:
        names.add(f"cache-{name}")
        return f"cache-{name}"

    async with opening(database) as open_memory:
        yield open_memory
    for name in names:
        await delete_database(name)


class TestPyodide(CacheContract):
    pass


class TestSessions(SessionCacheContract):
    pass


class TestDecoder(DecoderCacheContract):
    pass


class TestScheduler(SchedulerContract):
    pass


class TestAdapter(AdapterContract):
    pass
