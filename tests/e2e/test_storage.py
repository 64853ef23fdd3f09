"""The page store in a real browser: two tabs, a full disk, reloading, deleting."""

import asyncio
import base64
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Error

import pyruvllm
from tests.contracts.stores import WordEmbedder
from tests.e2e.browser import until
from tests.e2e.storage_page import storage_site

FULL = 2 << 20  # bytes of quota that a thousand batches need: Chromium counts its log, which it compresses at 4 MB
TEXT = "hex(zeroblob(8000000))"  # 16 MB that the browser compresses: what it refused it may leave on the disk for a while, as garbage


@pytest.fixture(scope="module")
def site():
    with storage_site() as address:
        yield address


@pytest.fixture
def tab(context):
    """Opens further tabs of one person's browser."""

    def open_tab():
        page = context.new_page()
        page.goto("storage.html")
        page.wait_for_load_state("load")
        return page

    return open_tab


def test_what_was_saved_is_there_after_reloading(tab):
    page = tab()
    assert page.evaluate("storage.open('notes')") == {"writable": True}
    page.evaluate("storage.write('notes', 12)")
    page.reload()
    assert page.evaluate("storage.open('notes')") == {"writable": True}
    found = page.evaluate("storage.inspect('notes')")
    assert (found["batches"], found["wrong"], found["integrity"]) == (12, 0, "ok")


def test_the_second_tab_follows_and_writes_when_the_first_is_gone(tab):
    first, second = tab(), tab()
    assert first.evaluate("storage.open('notes')") == {"writable": True}
    first.evaluate("storage.write('notes', 3)")
    assert second.evaluate("storage.open('notes')") == {"writable": False}
    assert second.evaluate("storage.inspect('notes').batches") == 3
    with pytest.raises(Error, match="ReadOnlyError"):
        second.evaluate("storage.write('notes', 1)")
    second.evaluate("storage.ask('notes', 100, 2)")
    assert second.evaluate("storage.inspect('notes').batches") == 5
    first.close()
    until(second, "storage.role('notes') === 'writer'")
    second.evaluate("storage.write('notes', 1)")
    assert second.evaluate("storage.inspect('notes').batches") == 6


def test_a_stolen_lock_does_not_let_two_tabs_write(tab):
    """The lock can be taken away; the epoch cannot: of two tabs that believe they write, the later one stays, the other follows."""
    first, second = tab(), tab()
    first.evaluate("storage.open('notes')")
    first.evaluate("storage.write('notes', 3)")
    second.evaluate("storage.open('notes')")
    second.evaluate("storage.takeOver('notes')")
    second.evaluate("storage.write('notes', 1)")
    with pytest.raises(Error, match="FencedError|ReadOnlyError"):
        first.evaluate("storage.write('notes', 1)")
    until(first, "storage.role('notes') === 'follower' && storage.inspect('notes').batches === 4")
    first.evaluate("storage.ask('notes', 100, 1)")
    second.reload()
    until(first, "storage.role('notes') === 'writer'")
    found = first.evaluate("storage.inspect('notes')")
    assert (found["batches"], found["wrong"], found["integrity"]) == (5, 0, "ok")


def test_deleting_in_one_tab_takes_it_from_the_other(tab):
    first, second = tab(), tab()
    first.evaluate("storage.open('notes')")
    first.evaluate("storage.write('notes', 3)")
    second.evaluate("storage.remove('notes')")
    assert second.evaluate("storage.stored()") == []
    assert "deleted" in first.evaluate("storage.lost()")[0]
    with pytest.raises(Error, match="ReadOnlyError"):
        first.evaluate("storage.write('notes', 1)")
    assert second.evaluate("storage.open('notes')") == {"writable": True}
    assert second.evaluate("storage.inspect('notes').batches") == 0


def test_a_full_disk_is_told_and_nothing_is_lost_once_there_is_room(tab, context, site):
    page = tab()
    devtools = context.new_cdp_session(page)
    origin = site.rstrip("/")
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": FULL})
    page.evaluate("storage.open('notes')")
    with pytest.raises(Error, match="QuotaError"):
        page.evaluate("storage.write('notes', 1000)")
    kept = page.evaluate("storage.inspect('notes').batches")
    with pytest.raises(Error, match="QuotaError"):
        page.evaluate("storage.flush('notes')")
    reader = tab()
    reader.evaluate("storage.open('notes')")
    assert reader.evaluate("storage.inspect('notes')")["last"] == kept - 1  # the last one is in memory only
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": origin})
    page.evaluate("storage.flush('notes')")
    page.evaluate("storage.write('notes', 1)")
    page.reload()
    page.evaluate("storage.open('notes')")
    found = page.evaluate("storage.inspect('notes')")
    assert (found["batches"], found["wrong"], found["integrity"]) == (kept + 1, 0, "ok")


def test_opening_needs_no_room(tab, context, site):
    page = tab()
    devtools = context.new_cdp_session(page)
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": site.rstrip("/"), "quotaSize": FULL})
    page.evaluate("storage.open('notes')")
    with pytest.raises(Error, match="QuotaError"):
        page.evaluate("storage.write('notes', 1000)")
    saved = page.evaluate("storage.inspect('notes').batches") - 1
    page.reload()
    assert page.evaluate("storage.open('notes')") == {"writable": True}
    assert page.evaluate("storage.inspect('notes').batches") == saved
    with pytest.raises(Error, match="QuotaError"):
        page.evaluate("storage.write('notes', 1000)")


def test_room_can_be_made_on_a_full_disk(tab, context, site):
    """What was deleted is given back to the disk, and what failed for want of room is saved then."""
    page = tab()
    devtools = context.new_cdp_session(page)
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": site.rstrip("/"), "quotaSize": 12 << 20})
    page.evaluate("storage.open('notes')")
    page.evaluate("storage.write('notes', 10)")
    page.evaluate("storage.fill('notes', 6 << 20)")  # rows of the batch 0
    with pytest.raises(Error, match="QuotaError"):
        page.evaluate("(sql) => storage.execute('notes', sql)", f"INSERT INTO rows (batch, body) VALUES (-1, {TEXT})")
    page.evaluate("storage.forget('notes', 1)")  # in memory only, as the disk is full
    page.evaluate("storage.compact('notes')")
    page.evaluate("storage.write('notes', 5)")
    page.reload()
    page.evaluate("storage.open('notes')")
    found = page.evaluate("storage.inspect('notes')")
    assert (found["last"], found["batches"], found["wrong"], found["integrity"]) == (15, 15, 0, "ok")
    assert found["bytes"] < 2 << 20


def test_a_memory_goes_to_a_native_file_and_back_bit_for_bit(tab, tmp_path):
    """Browser, native, browser: the same tables and the same bytes each time."""
    image = apart(made_natively(tmp_path / "first.db"))
    page = tab()
    page.evaluate("storage.open('moved')")
    page.evaluate("(image) => storage.replace('moved', image)", base64.b64encode(image).decode())
    for sql in (
        """INSERT INTO documents SELECT 'new', zeroblob(32), title, media_type, size, added_at, details, content || content
            FROM documents LIMIT 1""",
        "DELETE FROM turns",
    ):
        page.evaluate("(sql) => storage.execute('moved', sql)", sql)
    in_browser = base64.b64decode(page.evaluate("storage.exported('moved')"))
    assert in_browser != image
    natively = apart(moved_natively(in_browser, tmp_path / "second.db"))
    assert tables(natively) == tables(in_browser)
    assert natively == in_browser
    page.evaluate("storage.open('back')")
    page.evaluate("(image) => storage.replace('back', image)", base64.b64encode(natively).decode())
    page.reload()
    page.evaluate("storage.open('back')")
    back = base64.b64decode(page.evaluate("storage.exported('back')"))
    assert tables(back) == tables(in_browser)
    assert back == in_browser


def apart(work):
    """In a thread of its own: Playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def made_natively(path: Path) -> bytes:
    llm = await pyruvllm.open(path, embedder=WordEmbedder())
    for number in range(30):
        await llm.remember(f"Ferry {number} lies at berth {number * 7}. " * 40, title=f"Ferry {number}")
    await llm.ask("Which ferry lies at berth 7?", session="s")
    image = await llm.export_bytes()
    await llm.close()
    return image


async def moved_natively(image: bytes, path: Path) -> bytes:
    llm = await pyruvllm.open_bytes(image, path, embedder=WordEmbedder())
    again = await llm.memory.driver.export()
    await llm.close()
    return again


def tables(image: bytes) -> list[str]:
    """Everything in a database, as SQL."""
    database = sqlite3.connect(":memory:")
    database.deserialize(image)
    dumped = list(database.iterdump())
    database.close()
    return dumped
