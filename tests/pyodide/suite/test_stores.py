import pytest

from pyruvllm.storage import delete_database
from tests.contracts.documents import DocumentsContract
from tests.contracts.kernel_statistics import KernelStatisticsContract
from tests.contracts.likeness import LikenessContract
from tests.contracts.patterns import PatternContract
from tests.contracts.policy import PolicyContract
from tests.contracts.session import SessionContract
from tests.contracts.stores import opening
from tests.contracts.witness import WitnessContract


@pytest.fixture
async def open_memory():
    names = set()

    def database(name: str) -> str:
        names.add(f"stores-{name}")
        return f"stores-{name}"

    async with opening(database) as open_memory:
        yield open_memory
    for name in names:
        await delete_database(name)


class TestDocuments(DocumentsContract):
    pass


class TestSession(SessionContract):
    pass


class TestPolicy(PolicyContract):
    pass


class TestKernelStatistics(KernelStatisticsContract):
    pass


class TestWitness(WitnessContract):
    pass


class TestLikeness(LikenessContract):
    pass


class TestPattern(PatternContract):
    pass
