"""What sealing promises on every host, tried through ``pyruvllm.storage``. ``name`` as in ``DriverContract``."""

import pytest

from pyruvllm.errors import ConfigError, LockedError, PassphraseError, ReadOnlyError, StorageError
from pyruvllm.storage import Protection, Secret, delete_database, open_driver, open_sealed_file, protection_of, sealed_file
from tests.contracts.driver import allow, made, words

DEVICE = Secret(device_key=True)


async def sealed(name, secret=DEVICE, rows=((1, "one"),)):
    driver = await open_driver(name, secret=secret)
    driver.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, words TEXT)")
    driver.executemany("INSERT INTO items VALUES (?, ?)", rows)
    await driver.flush()
    return driver


class SealingContract:
    async def test_a_passphrase_opens_and_nothing_else_does(self, name):
        driver = await sealed(name, Secret("Größe 12"))
        assert driver.protection == Protection(passphrase=True, device_key=False, this_device=False)
        await driver.close()
        assert await protection_of(name) == Protection(True, False, False)
        with pytest.raises(PassphraseError):
            await open_driver(name, secret=Secret("Größe 13"))
        for secret in (None, DEVICE):
            with pytest.raises(LockedError, match="passphrase opens it"):
                await open_driver(name, secret=secret)
        driver = await open_driver(name, secret=Secret("Gro\u0308ße 12"))  # the same letters in another Unicode form
        assert driver.writable and words(driver) == {1: "one"}
        reader = await open_driver(name, secret=Secret("Größe 12"), readonly=True)
        assert not reader.writable and words(reader) == {1: "one"}
        await reader.close()
        await driver.close()

    async def test_the_device_key_opens_unasked(self, name):
        await (await sealed(name)).close()
        assert await protection_of(name) == Protection(False, True, True)
        driver = await open_driver(name)
        assert words(driver) == {1: "one"}
        await driver.close()
        with pytest.raises(LockedError, match="no passphrase"):
            await open_driver(name, secret=Secret("anything"))

    @pytest.mark.parametrize("passphrase", ["", "  ", "\ud800", 12])
    def test_a_passphrase_that_is_none_is_refused(self, passphrase):
        with pytest.raises(ConfigError):
            Secret(passphrase)

    async def test_a_secret_for_what_is_not_sealed_is_refused(self, name):
        await (await made(name)).close()
        with pytest.raises(StorageError, match="not sealed"):
            await open_driver(name, secret=Secret("x"))
        with pytest.raises(StorageError, match="memory only"):
            await open_driver(":memory:", secret=DEVICE)
        assert await protection_of(name) is None

    async def test_a_plain_database_is_sealed_and_unsealed_in_place(self, name):
        driver = await made(name, [(n, "plain " * 100) for n in range(500)])
        await driver.protect(DEVICE)
        driver.execute("INSERT INTO items (id, words) VALUES (1000, 'sealed')")
        with pytest.raises(StorageError, match="sealed already"):
            await driver.protect(DEVICE)
        await driver.close()
        driver = await open_driver(name)
        assert driver.protection and len(words(driver)) == 501
        await driver.unprotect()
        driver.execute("INSERT INTO items (id, words) VALUES (1001, 'plain')")
        with pytest.raises(StorageError, match="not sealed"):
            await driver.unprotect()
        with pytest.raises(StorageError, match="not sealed"):
            await driver.rekey(Secret(), DEVICE)
        await driver.close()
        driver = await open_driver(name)
        assert driver.protection is None and len(words(driver)) == 502
        assert driver.query("PRAGMA integrity_check") == [("ok",)]
        await driver.close()

    async def test_another_passphrase_opens_the_same_data(self, name):
        driver = await sealed(name, Secret("old"))
        with pytest.raises(PassphraseError):
            await driver.rekey(Secret("wrong"), Secret("new"))
        with pytest.raises(StorageError, match="a passphrase or a device key"):
            await driver.rekey(Secret("old"), Secret())
        await driver.rekey(Secret("old"), Secret("new", device_key=True))
        assert driver.protection == Protection(True, True, True)
        driver.execute("INSERT INTO items VALUES (2, 'two')")
        await driver.close()
        with pytest.raises(PassphraseError):
            await open_driver(name, secret=Secret("old"))
        driver = await open_driver(name)
        await driver.rekey(Secret(), Secret("third"))
        await driver.close()
        with pytest.raises(LockedError):
            await open_driver(name)
        driver = await open_driver(name, secret=Secret("third"))
        assert words(driver) == {1: "one", 2: "two"}
        await driver.close()

    async def test_inside_a_transaction_and_for_a_reader_it_is_refused(self, name):
        driver = await sealed(name)
        for act in (driver.unprotect, lambda: driver.rekey(Secret(), DEVICE)):
            with pytest.raises(StorageError), driver.transaction():
                await act()
        reader = await open_driver(name)
        for act in (reader.unprotect, lambda: reader.rekey(Secret(), DEVICE)):
            with pytest.raises(ReadOnlyError):
                await act()
        await reader.close()
        await driver.close()

    async def test_a_replacement_stays_sealed(self, name):
        source = await made(":memory:", [(7, "seven")])
        driver = await sealed(name)
        await driver.replace(await source.export(), allow)
        driver.execute("INSERT INTO items (id, words) VALUES (8, 'eight')")
        await source.close()
        await driver.close()
        driver = await open_driver(name)
        assert driver.protection and words(driver) == {7: "seven", 8: "eight"}
        assert driver.query("PRAGMA foreign_keys") == [(1,)]
        await driver.close()

    async def test_a_sealed_file_goes_elsewhere(self, name):
        driver = await made(":memory:", [(n, "travels well") for n in range(2000)])
        image = await driver.export()
        await driver.close()
        file = await sealed_file(image, "travel")
        assert b"travels" not in file
        assert int.from_bytes(file[60:64]) == 2  # the format, which both hosts read and write
        assert await open_sealed_file(file, "travel") == image
        with pytest.raises(PassphraseError):
            await open_sealed_file(file, "wrong")
        with pytest.raises(StorageError):
            await open_sealed_file(image, "travel")
        for altered in (file[: len(file) // 2], flipped(file, len(file) - 30_000), b""):
            with pytest.raises(StorageError):
                await open_sealed_file(altered, "travel")

    async def test_a_sealed_database_is_deleted_without_its_key(self, name):
        await (await sealed(name, Secret("lost"))).close()
        await delete_database(name)
        assert await protection_of(name) is None
        driver = await open_driver(name)
        assert driver.protection is None
        await driver.close()

    async def test_closing_without_flushing_loses_nothing(self, name):
        driver = await sealed(name)
        driver.executemany("INSERT INTO items VALUES (?, ?)", [(n, "more " * 500) for n in range(2, 4000)])
        await driver.close()
        driver = await open_driver(name)
        assert len(words(driver)) == 3999
        assert driver.query("PRAGMA integrity_check") == [("ok",)]
        await driver.close()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
