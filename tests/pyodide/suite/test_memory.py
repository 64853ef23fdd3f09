import pytest

from pyruvllm.storage import delete_database
from tests.contracts.filters import FiltersContract
from tests.contracts.graph import GraphContract
from tests.contracts.memory import MemoryContract
from tests.contracts.memory_index import LargeIndexContract
from tests.contracts.memory_model import MemoryModelContract
from tests.contracts.memory_search import SearchContract
from tests.contracts.stores import opening


@pytest.fixture
async def open_memory():
    names = set()

    def database(name: str) -> str:
        names.add(f"memory-{name}")
        return f"memory-{name}"

    async with opening(database) as open_memory:
        yield open_memory
    for name in names:
        await delete_database(name)


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
