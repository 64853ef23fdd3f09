"""The page store in a real browser: two tabs, a full disk, reloading, deleting."""

import pytest
from playwright.sync_api import Error

from tests.e2e.storage_page import storage_site


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


def test_the_second_tab_reads_and_is_told_when_the_first_is_gone(tab):
    first, second = tab(), tab()
    assert first.evaluate("storage.open('notes')") == {"writable": True}
    first.evaluate("storage.write('notes', 3)")
    assert second.evaluate("storage.open('notes')") == {"writable": False}
    assert second.evaluate("storage.inspect('notes').batches") == 3
    with pytest.raises(Error, match="ReadOnlyError"):
        second.evaluate("storage.write('notes', 1)")
    first.close()
    assert second.evaluate("storage.released('notes')") is True
    second.reload()
    assert second.evaluate("storage.open('notes')") == {"writable": True}
    second.evaluate("storage.write('notes', 1)")
    assert second.evaluate("storage.inspect('notes').batches") == 4


def test_a_stolen_lock_does_not_let_two_tabs_write(tab):
    """The lock can be taken away; the epoch cannot: of two tabs that believe they write, the later one stays."""
    first, second = tab(), tab()
    first.evaluate("storage.open('notes')")
    first.evaluate("storage.write('notes', 3)")
    second.evaluate("navigator.locks.request('pyruvllm:writer:notes', {steal: true}, () => undefined)")
    assert second.evaluate("storage.open('notes')") == {"writable": True}
    second.evaluate("storage.write('notes', 1)")
    with pytest.raises(Error, match="FencedError"):
        first.evaluate("storage.write('notes', 1)")
    assert "another tab" in first.evaluate("storage.lost()")[0]
    second.reload()
    second.evaluate("storage.open('notes')")
    assert second.evaluate("storage.inspect('notes')")["batches"] == 4


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
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 4 << 20})
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
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": site.rstrip("/"), "quotaSize": 4 << 20})
    page.evaluate("storage.open('notes')")
    with pytest.raises(Error, match="QuotaError"):
        page.evaluate("storage.write('notes', 1000)")
    saved = page.evaluate("storage.inspect('notes').batches") - 1
    page.reload()
    assert page.evaluate("storage.open('notes')") == {"writable": True}
    assert page.evaluate("storage.inspect('notes').batches") == saved
    with pytest.raises(Error, match="QuotaError"):
        page.evaluate("storage.write('notes', 1000)")
