"""Packs inside Pyodide: signatures through WebCrypto and in Python, modules through the interpreter's own loader, packs in sql.js."""

import itertools

import pytest

from pyruvllm import host
from pyruvllm.kernels.shelf import DriverShelf
from pyruvllm.storage import delete_database, migrate, open_driver
from tests.contracts import signature
from tests.contracts.pack import PackContract, WasmContract
from tests.contracts.pack_store import StoreContract

count = itertools.count()


class TestInPython(signature.PythonContract):
    pass


class TestByWebCrypto(signature.HostContract):
    async def test_this_engine_has_it(self):
        _, public, message, made = signature.VECTORS["empty"]
        assert await host.current().verify_ed25519(public, made, message) is True


class TestChosen(signature.ChosenContract):
    pass


class TestFallback(signature.FallbackContract):
    pass


class TestFiles(signature.FilesContract):
    pass


class TestPack(PackContract):
    pass


class TestWasm(WasmContract):
    pass


class TestSqljsShelf(StoreContract):
    @pytest.fixture
    async def make_shelf(self):
        name = f"packs-{next(count)}"
        drivers = []

        async def make_shelf():
            if not drivers:
                drivers.append(await open_driver(name))
                migrate(drivers[0])
            return DriverShelf(drivers[0], "core")

        yield make_shelf
        for driver in drivers:
            await driver.close()
        await delete_database(name)
