import pytest

from tests.contracts.adapters import StoreContract, VectorStoreContract
from tests.contracts.stores import opening


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


class TestVectorStore(VectorStoreContract):
    @pytest.fixture
    def no_waiting(self):
        """Nothing to do: natively a loop that runs can never be waited for."""


class TestStore(StoreContract):
    pass
