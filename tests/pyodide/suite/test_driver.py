import asyncio
import itertools

import pytest

from pyruvllm.errors import FencedError, ReadOnlyError
from pyruvllm.storage import delete_database, open_driver
from tests.contracts.driver import DriverContract, SealedDriverContract, made, words
from tests.contracts.sealing import SealingContract

count = itertools.count()


@pytest.fixture
async def name():
    name = f"contract-{next(count)}"
    yield name
    await delete_database(name)


class TestSqljs(DriverContract):
    pass


class TestSealedSqljs(SealedDriverContract):
    pass


class TestSealingInTheBrowser(SealingContract):
    pass


async def told(calls):
    """Gives a callback from JavaScript the turns it needs."""
    async with asyncio.timeout(5):
        while not calls:
            await asyncio.sleep(0.01)


async def test_a_follower_is_told_what_was_saved_and_when_the_writer_is_gone(name):
    writer = await made(name)
    follower = await open_driver(name)
    assert (writer.role, follower.role, writer.shared, follower.shared) == ("writer", "follower", True, True)
    calls = []
    follower.follow(lambda what, why: calls.append((what, len(words(follower)))))
    writer.execute("INSERT INTO items (id, words) VALUES (1, 'one')")
    await writer.flush()
    await told(calls)
    assert calls == [("refreshed", 1)]
    await writer.close()
    async with asyncio.timeout(5):
        while not follower.writable:
            await asyncio.sleep(0.01)
    assert calls[-1] == ("writer", 1)
    follower.execute("INSERT INTO items (id, words) VALUES (2, 'two')")
    await follower.close()
    reopened = await open_driver(name)
    assert words(reopened) == {1: "one", 2: "two"}
    await reopened.close()


async def test_the_writer_does_what_a_follower_asks(name):
    writer, asked = await made(name), []
    follower = await open_driver(name)

    async def perform(id, request):
        asked.append((id, request))
        writer.execute("INSERT INTO items (words) VALUES (?)", (request,))
        await writer.flush()
        return request.upper()

    writer.serve(perform)
    follower.follow(lambda what, why: None)
    assert await follower.call("a", "hello") == "HELLO"
    assert words(follower) == {1: "hello"} and asked == [("a", "hello")]
    await follower.take_over()
    assert (writer.role, follower.role) == ("follower", "writer")
    await follower.close()
    await writer.close()


async def test_a_reader_asks_nobody(name):
    writer = await made(name)
    reader = await open_driver(name, readonly=True)
    assert (reader.role, reader.shared) == ("reader", False)
    with pytest.raises(ReadOnlyError):
        await reader.call("a", "hello")
    await reader.close()
    await writer.close()


async def test_a_writer_whose_database_is_deleted_is_told_and_writes_no_more(name):
    driver = await made(name, [(1, "one")])
    calls = []
    driver.on_lost(calls.append)
    driver.execute("INSERT INTO items (id) VALUES (2)")
    await delete_database(name)
    await told(calls)
    assert "deleted" in calls[0]
    assert not driver.writable
    assert words(driver) == {1: "one", 2: None}  # still to be read, and exported
    with pytest.raises(ReadOnlyError):
        driver.execute("DELETE FROM items")
    with pytest.raises(FencedError):
        await driver.flush()
    await driver.close()


async def test_closing_is_no_loss(name):
    driver = await made(name)
    calls = []
    driver.on_lost(calls.append)
    driver.follow(lambda what, why: calls.append(what))
    await driver.close()
    assert calls == []


async def test_a_database_too_large_for_one_crossing(name):
    driver = await made(name)
    assert driver.executemany("INSERT INTO items (bytes) VALUES (?)", [(bytes([n % 256]) * 3000,) for n in range(3000)]) == 3000
    await driver.close()
    driver = await open_driver(name)
    rows = driver.query("SELECT bytes FROM items ORDER BY id")
    assert [row[0] for row in rows] == [bytes([n % 256]) * 3000 for n in range(3000)]
    await driver.close()
