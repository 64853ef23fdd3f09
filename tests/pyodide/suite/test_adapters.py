import pytest

from pyruvllm.storage import delete_database
from tests.contracts.adapters import StoreContract, VectorStoreContract
from tests.contracts.stores import opening


@pytest.fixture
async def open_memory():
    names = set()

    def database(name: str) -> str:
        names.add(f"adapters-{name}")
        return f"adapters-{name}"

    async with opening(database) as open_memory:
        yield open_memory
    for name in names:
        await delete_database(name)


class TestVectorStore(VectorStoreContract):
    pass


class TestStore(StoreContract):
    pass
