import pytest

from pyruvllm.storage import delete_database
from tests.contracts.adapter import AdapterContract
from tests.contracts.cache import CacheContract
from tests.contracts.cache_sessions import SessionCacheContract
from tests.contracts.decoder_cache import DecoderCacheContract
from tests.contracts.scheduler import SchedulerContract
from tests.contracts.stores import opening


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
