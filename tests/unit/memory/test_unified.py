import pytest

from tests.contracts.filters import FiltersContract
from tests.contracts.graph import GraphContract
from tests.contracts.memory import MemoryContract
from tests.contracts.memory_index import LargeIndexContract
from tests.contracts.memory_model import MemoryModelContract
from tests.contracts.memory_search import SearchContract
from tests.contracts.stores import opening


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


class TestMemory(MemoryContract):
    pass


class TestSearch(SearchContract):
    pass


class TestLargeIndex(LargeIndexContract):
    pass


class TestFilters(FiltersContract):
    pass


class TestMemoryModel(MemoryModelContract):
    pass


class TestGraph(GraphContract):
    pass
