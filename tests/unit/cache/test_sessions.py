import pytest

from tests.contracts.cache_sessions import SessionCacheContract
from tests.contracts.stores import opening


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


class TestNative(SessionCacheContract):
    pass
