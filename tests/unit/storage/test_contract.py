import pytest

from pyruvllm.errors import HostError
from pyruvllm.storage import sealing, vfs
from tests.contracts.driver import DriverContract, SealedDriverContract
from tests.contracts.sealing import SealingContract


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def unseen_writes(monkeypatch):
    """As on a Python whose SQLite cannot be reached: changed pages are found by comparing."""

    def connect(file):
        raise HostError("this Python's SQLite takes no file system from outside")

    monkeypatch.setattr(vfs, "connect", connect)


class TestSqlite(DriverContract):
    @pytest.fixture(params=["a name", "a path"])
    def name(self, request, tmp_path):
        return "contract" if request.param == "a name" else str(tmp_path / "odd ü?#% name.db")


class TestSealedSqlite(SealedDriverContract):
    @pytest.fixture
    def name(self, tmp_path):
        return str(tmp_path / "odd ü?#% name.db")


@pytest.mark.usefixtures("unseen_writes")
class TestSealedSqliteByComparing(SealedDriverContract):
    @pytest.fixture
    def name(self):
        return "contract"


class TestSealing(SealingContract):
    @pytest.fixture
    def name(self, monkeypatch):
        monkeypatch.setattr(sealing, "ROUNDS", 100_000)  # the fewest that are accepted: these tests derive thirty keys
        return "contract"
