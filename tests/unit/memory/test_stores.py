import pytest

from tests.contracts.documents import DocumentsContract
from tests.contracts.kernel_statistics import KernelStatisticsContract
from tests.contracts.likeness import LikenessContract
from tests.contracts.patterns import PatternContract
from tests.contracts.policy import PolicyContract
from tests.contracts.session import SessionContract
from tests.contracts.stores import opening
from tests.contracts.witness import WitnessContract


@pytest.fixture
async def open_memory(tmp_path):
    async with opening(lambda name: str(tmp_path / f"{name}.db")) as open_memory:
        yield open_memory


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
