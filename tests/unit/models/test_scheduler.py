import pytest

from tests.contracts.scheduler import SchedulerContract
from tests.contracts.stores import opening


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


class TestNative(SchedulerContract):
    pass
