import pytest

from tests.contracts.stores import opening
from tests.contracts.witness_audit import AuditContract
from tests.contracts.witness_chain import ChainContract
from tests.contracts.witness_keeping import KeepingContract


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


class TestChain(ChainContract):
    pass


class TestAudit(AuditContract):
    pass


class TestKeeping(KeepingContract):
    pass
