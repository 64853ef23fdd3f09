import pytest

from pyruvllm.storage import delete_database
from tests.contracts.stores import opening
from tests.contracts.witness_audit import AuditContract
from tests.contracts.witness_chain import ChainContract
from tests.contracts.witness_keeping import KeepingContract


@pytest.fixture
async def open_memory():
    names = set()

    def database(name: str) -> str:
        names.add(f"audit-{name}")
        return f"audit-{name}"

    async with opening(database) as open_memory:
        yield open_memory
    for name in names:
        await delete_database(name)


class TestChain(ChainContract):
    pass


class TestAudit(AuditContract):
    pass


class TestKeeping(KeepingContract):
    pass
