import pytest

from tests.contracts.driver import DriverContract


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


class TestSqlite(DriverContract):
    @pytest.fixture(params=["a name", "a path"])
    def name(self, request, tmp_path):
        return "contract" if request.param == "a name" else str(tmp_path / "odd ü?#% name.db")
