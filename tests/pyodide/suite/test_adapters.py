import pytest

from pyruvllm.adapters.langchain import RuvVectorStore
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
    @pytest.fixture
    def no_waiting(self, monkeypatch):
        monkeypatch.setattr("pyruvllm.host.browser.can_run_sync", lambda: False)  # as without JSPI

    async def test_with_jspi_it_can_be_waited_for(self, open_memory):
        store = RuvVectorStore(await open_memory())
        [id] = store.add_texts(["boats leave the harbour"])
        assert [document.id for document in store.similarity_search("boats leave the harbour", 3)] == [id]


class TestStore(StoreContract):
    pass
