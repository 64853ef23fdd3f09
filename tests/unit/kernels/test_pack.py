import pytest

from pyruvllm.errors import QuotaError, StorageError
from pyruvllm.kernels.shelf import CURRENT, PREVIOUS, DriverShelf, MemoryShelf
from pyruvllm.kernels.store import PackStore
from pyruvllm.storage import migrate, open_driver
from tests.contracts.pack import PackContract, WasmContract
from tests.contracts.pack_store import StoreContract, right
from tests.generators import packs


class TestPack(PackContract):
    pass


class TestWasm(WasmContract):
    pass


class TestMemoryShelf(StoreContract):
    @pytest.fixture
    def make_shelf(self):
        shelf = MemoryShelf()

        async def make_shelf():
            return shelf

        return make_shelf


@pytest.fixture
async def driver(tmp_path):
    driver = await open_driver(str(tmp_path / "packs.db"))
    migrate(driver)
    yield driver
    await driver.close()


class TestDriverShelf(StoreContract):
    @pytest.fixture
    def make_shelf(self, driver):
        async def make_shelf():
            return DriverShelf(driver, "core")

        return make_shelf

    async def test_a_write_that_fails_half_way_changes_nothing(self, make_store, driver, monkeypatch):
        store = await make_store()
        await store.install(packs.files(2), right)
        await store.install(packs.files(3), right)
        inserted = driver.executemany

        def fails(sql, rows):
            inserted(sql, list(rows)[:1])
            raise StorageError("the disk is gone")

        monkeypatch.setattr(driver, "executemany", fails)
        with pytest.raises(StorageError, match="gone"):
            await store.install(packs.files(4), right)
        monkeypatch.undo()
        shelf = DriverShelf(driver, "core")
        assert [shelf.read(place) for place in (CURRENT, PREVIOUS)] == [packs.files(3), packs.files(2)]

    async def test_installing_waits_until_it_is_durable(self, make_store, driver, monkeypatch):
        async def full():
            raise QuotaError("the disk is full")

        monkeypatch.setattr(driver, "flush", full)
        with pytest.raises(QuotaError):
            await (await make_store()).install(packs.files(2), right)

    async def test_a_database_without_the_table_is_no_reason_to_stop(self, driver):
        driver.execute("DROP TABLE kernel_packs")
        loaded = await PackStore(DriverShelf(driver, "core"), trusted=packs.trusted, bundled=packs.files).load(right)
        assert loaded.place == "bundled" and [place for place, _ in loaded.refused] == [CURRENT, PREVIOUS]

    async def test_packs_of_other_names_lie_beside_each_other(self, driver):
        DriverShelf(driver, "other").write({CURRENT: packs.files(7)})
        assert DriverShelf(driver, "core").read(CURRENT) == {}
