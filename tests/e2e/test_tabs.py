"""Several tabs of one memory, real pages and workers: whichever is killed, nothing that was acknowledged is lost or there twice."""

import re
from collections import Counter

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.browser import until
from tests.e2e.killing import crash
from tests.e2e.storage_page import storage_site
from tests.e2e.test_main_job import ask, forget, library, paste, ready
from tests.e2e.workers import blank, start

LEASE = "Signed the new lease for Quay Street 14. It runs for three years and ends on 31 January 2029."


@pytest.fixture
def storage(new_context, site):
    """Opens tabs on the page of the store alone."""
    with storage_site() as address:
        context = new_context()

        def open_tab() -> Page:
            page = context.new_page()
            page.goto(f"{address}storage.html")
            page.wait_for_load_state("load")
            return page

        yield open_tab


def test_either_tab_does_everything_and_the_second_goes_on_alone(context: BrowserContext):
    page = context.pages[0]
    page.goto("/")
    ready(page)
    second = context.new_page()
    second.goto("/")
    ready(second)
    expect(page.locator("#status")).to_contain_text("On this device")
    expect(second.locator("#status")).to_contain_text("Open in another tab too")
    assert second.locator("#notices").inner_text() == ""
    paste(second, LEASE, "Lease")
    expect(library(page, "Lease")).to_be_visible()
    turn = ask(second, "When does the lease end?")
    expect(turn).to_contain_text("31 January 2029")
    turn.get_by_role("button", name="Good answer").click()
    expect(second.get_by_text("that is recorded in the log")).to_be_visible()
    expect(page.get_by_role("region", name="Conversations")).to_contain_text("When does the lease end?")
    paste(page, "The kettle is from 1931.", "Kettle")
    expect(library(second, "Kettle")).to_be_visible()
    forget(second, "Lease")
    expect(library(page, "Lease")).to_have_count(0)
    page.close()
    expect(second.locator("#status")).to_contain_text("On this device")
    paste(second, "The lamp hangs in the shed.", "Lamp")
    second.reload()
    ready(second)
    expect(library(second, "Lamp")).to_be_visible()
    expect(library(second, "Kettle")).to_be_visible()


def test_writers_die_in_the_middle_and_nothing_is_lost_or_doubled(context: BrowserContext, console):
    """Three tabs ask and remember all the time. The one that writes is closed, the next one crashes, and the third has everything."""
    console.allow("crashed|404")  # the blank pages ask for an icon that is not there
    tabs = [blank(context) for _ in range(3)]
    assert [start(tab, "ferries") for tab in tabs] == ["writer", "follower", "follower"]
    for name, tab in zip("ABC", tabs, strict=True):
        tab.evaluate("(name) => void busy(name)", name)
    first, second, third = tabs
    until_acknowledged(tabs)
    first.close()
    until(second, "roles.some(([role]) => role === 'writer')")
    until_acknowledged([second, third])
    crash(second)
    until(third, "roles.some(([role]) => role === 'writer')")
    until_acknowledged([third])
    acknowledged = Counter(line for tab in tabs for line in tab.saved)
    titles = Counter(document["title"] for document in third.evaluate("call('documents', {})")["documents"])
    turns: Counter[str] = Counter()
    for name in "ABC":
        turns.update(turn["text"] for turn in third.evaluate("(id) => call('session', { id })", f"berths of {name}")["turns"])
    log = third.evaluate("call('witness', { limit: 10000, offset: 0 })")["entries"]
    entries = Counter(entry["query"] for entry in log)
    asked = {line.removeprefix("asked ") for line in acknowledged if line.startswith("asked ")}
    remembered = {line.removeprefix("remembered ") for line in acknowledged if line.startswith("remembered ")}
    assert all(any(line.startswith(name) for line in asked) for name in "ABC"), "one of them never got anything done"
    assert remembered <= set(titles), "an acknowledged document is lost"
    questions = {f"Is {who} at berth {n}?" for who, n in (line.split() for line in asked)}
    assert questions <= set(turns) and questions <= set(entries), "an acknowledged question is lost"
    assert max(titles.values()) == max(entries.values()) == 1, "something was written twice"
    assert max(count for text, count in turns.items() if text.startswith("Is ")) == 1, "a turn was written twice"


def until_acknowledged(tabs: list[Page]) -> None:
    """Until each of them had two more questions and a document acknowledged."""
    before = {tab: len(tab.saved) for tab in tabs}
    while any(len(tab.saved) < before[tab] + 3 for tab in tabs):
        tabs[-1].wait_for_timeout(50)


def test_eight_writers_killed_in_mid_commit(storage, console):
    console.allow("crashed")
    writer, follower = storage(), storage()
    acknowledged: list[int] = []

    def note(message):
        if found := re.fullmatch(r"saved (\d+)", message.text):
            acknowledged.append(int(found[1]))

    writer.evaluate("storage.open('kills')")
    for turn in range(8):
        follower.on("console", note)
        assert follower.evaluate("storage.open('kills')") == {"writable": False}
        follower.evaluate("(first) => void storage.ask('kills', first)", 1000 * (turn + 1))
        writer.evaluate("(first) => void storage.write('kills', Infinity, first)", 100_000 + 1000 * turn)
        follower.wait_for_timeout(100 + 40 * turn)
        crash(writer) if turn % 2 else writer.close()
        until(follower, "storage.role('kills') === 'writer'")
        follower.wait_for_timeout(50)
        found = follower.evaluate("storage.inspect('kills')")
        assert (found["wrong"], found["integrity"]) == (0, "ok")
        there = {int(batch) for batch in follower.evaluate("storage.batches('kills')").split(",")}
        assert set(acknowledged) <= there, "an acknowledged batch is lost"
        writer, follower = follower, storage()
    assert len(acknowledged) > 40
