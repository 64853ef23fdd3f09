"""What the page does by itself: theme, keys, dialogs, refusals, states without a memory. The policy is watched throughout."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.browser import ROOT
from tests.e2e.conftest import Console, one_page, visited

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
# a phone shows a page that is too wide at a smaller scale, and then calls all of it innerWidth
FITS = "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= Math.min(innerWidth, screen.width)"


def ready(page: Page) -> None:
    expect(page.locator("#status")).to_have_attribute("data-state", re.compile("ready|readonly"))


def remember(page: Page, text: str, title: str) -> None:
    page.get_by_role("button", name="Add files or text").click()
    dialog = page.get_by_role("dialog", name="Add notes")
    dialog.get_by_label("Text", exact=True).fill(text)
    dialog.get_by_label("Title").fill(title)
    dialog.get_by_role("button", name="Remember text").click()
    expect(page.locator("#dock").get_by_text("1 document remembered").last).to_be_visible()


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 A and AA. Run apart from the page's policy, as an extension would."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text()})
    rules = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    call = f"axe.run(document, {{runOnly: {json.dumps(rules)}}}).then((found) => JSON.stringify(found.violations))"
    answer = session.send("Runtime.evaluate", {"expression": call, "awaitPromise": True, "returnByValue": True})
    found = json.loads(answer["result"]["value"])
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found for node in one["nodes"]]


def check(page: Page) -> None:
    """There is nothing in the way of assistive technology, in light and in dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        assert violations(page) == [], scheme


def settle(page: Page) -> None:
    """Transitions and entrances are brought to their end: colours in between would be measured."""
    running = "document.getAnimations().filter((one) => one.playState === 'running' && one.effect.getComputedTiming().endTime < 5000)"
    page.evaluate(f"() => {{ for (let all; (all = {running}).length;) for (const one of all) one.finish(); }}")


@pytest.fixture(scope="module")
def notebook(playwright, site: str, tmp_path_factory) -> Iterator[tuple[Page, Console]]:
    """Its start was watched: ``page.moved`` is how much moved in it."""
    with one_page(playwright, site, tmp_path_factory.mktemp("notebook")) as (page, seen):
        page.add_init_script(
            "window.moved = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) window.moved += one.value; })"
            ".observe({ type: 'layout-shift', buffered: true })"
        )
        page.goto("/")
        ready(page)
        page.moved = page.evaluate("window.moved")  # type: ignore[attr-defined]
        yield page, seen


@pytest.fixture
def home(notebook: tuple[Page, Console]) -> Iterator[Page]:
    yield from visited(*notebook)


def test_the_first_paint_is_the_page_itself(page: Page, console: Console):
    console.allow("net::ERR_FAILED")
    page.route(re.compile(r"main\.js$"), lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("heading", name="Ask what you once wrote down.")).to_be_visible()
    expect(page.get_by_label("Question", exact=True)).to_be_visible()


def test_nothing_moves_while_it_starts(home: Page):
    assert home.moved < 0.02  # type: ignore[attr-defined]


def test_the_theme_follows_the_system_until_one_is_chosen(page: Page):
    page.emulate_media(color_scheme="dark")
    page.goto("/")
    background = "() => getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Theme: as the system").click()
    expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    assert page.evaluate(background) == light
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(background) == dark


def test_keys_reach_everything(home: Page):
    page = home
    page.keyboard.press("/")
    question = page.get_by_label("Question", exact=True)
    expect(question).to_be_focused()
    page.keyboard.type("l?")  # letters in a field are letters
    expect(question).to_have_value("l?")
    page.keyboard.press("Escape")
    expect(question).not_to_be_focused()
    page.keyboard.press("l")
    expect(page.get_by_role("heading", name="Witness log", level=2)).to_be_visible()
    page.keyboard.press("s")
    expect(page.get_by_role("heading", name="Storage", level=2)).to_be_visible()
    page.keyboard.press("?")
    shortcuts = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(shortcuts).to_contain_text("Ask a question")
    shortcuts.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(shortcuts).to_have_count(0)
    page.keyboard.press("/")
    expect(question).not_to_be_focused()


def test_the_first_tab_stop_skips_to_the_question(page: Page):
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the question")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Question", exact=True)).to_be_focused()


def test_arrows_walk_through_the_library(home: Page):
    page = home
    items = page.get_by_role("region", name="Library").locator(".rail-item-open")
    before = items.count()
    remember(page, "The boat lies at the pier.", "Boat")
    remember(page, "The lamp hangs in the shed.", "Lamp")
    expect(items).to_have_count(before + 2)
    items.first.focus()
    page.keyboard.press("ArrowDown")
    expect(items.nth(1)).to_be_focused()
    page.keyboard.press("Home")
    expect(items.first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(items.first).to_be_focused()  # back where it was


def test_a_dialog_that_deletes_can_be_left(home: Page):
    page = home
    remember(page, "The kettle is from 1931.", "Kettle")
    page.get_by_role("button", name="Forget document Kettle").click()
    dialog = page.get_by_role("dialog", name="Forget this document?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("region", name="Library")).to_contain_text("Kettle")
    page.get_by_role("link", name="Storage").click()
    page.get_by_role("region", name="Storage").get_by_role("button", name="Delete").click()
    sure = page.get_by_role("dialog").get_by_role("button", name="Delete everything")
    expect(sure).to_be_disabled()
    page.get_by_label("Type “delete” to confirm").fill("delete")
    expect(sure).to_be_enabled()
    page.keyboard.press("Escape")
    expect(page.get_by_role("region", name="Library")).to_contain_text("Kettle")


def test_files_that_are_no_text_are_refused_by_name(page: Page, tmp_path: Path):
    files = {
        "tide.md": b"# Tide\n\nHigh water at Lilla Sand is two hours after the harbour.",
        "picture.txt": bytes(range(256)) * 8,
        "bill.pdf": b"%PDF-1.7 ...",
        "blank.txt": b"  \n",
        "empty.txt": b"",
        "latin.txt": "Årsmötet".encode("latin-1"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    page.goto("/")
    ready(page)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files([tmp_path / name for name in files])
    report = page.get_by_role("listitem")
    expect(page.locator("#dock").get_by_text("1 document remembered, 5 files not added")).to_be_visible()
    for name, reason in {
        "picture.txt": "not a text file",
        "bill.pdf": "PDF files cannot be read yet",
        "blank.txt": "white space",
        "empty.txt": "empty",
        "latin.txt": "not a text file",
    }.items():
        expect(report.filter(has_text=name)).to_contain_text(reason)
    expect(page.get_by_role("region", name="Library")).to_contain_text("tide")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#dock").get_by_text("5 files not added")).to_have_count(0)


def test_files_can_be_dropped_anywhere(home: Page):
    page = home
    transfer = page.evaluate_handle(
        "() => { const data = new DataTransfer(); data.items.add(new File(['The key hangs at the bakery.'], 'keys.txt')); return data; }"
    )
    for kind in ("dragenter", "dragover"):
        page.dispatch_event("#question", kind, {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to remember")).to_be_visible()
    page.dispatch_event("#question", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to remember")).to_be_hidden()
    expect(page.get_by_role("region", name="Library")).to_contain_text("keys")


def test_nothing_stands_in_the_way_of_assistive_technology(page: Page):
    page.emulate_media(reduced_motion="reduce")
    page.goto("/")
    ready(page)
    check(page)
    remember(page, "The spare key to the workshop hangs with Pavel at the bakery next door.", "Keys")
    page.get_by_label("Question", exact=True).fill("Where is the spare key?")
    page.get_by_role("button", name="Ask", exact=True).click()
    turn = page.get_by_role("article", name="Where is the spare key?")
    expect(turn.get_by_role("button", name="Copy answer")).to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("Answer: “The spare key to the workshop hangs with Pavel")
    turn.locator("summary").click()
    turn.get_by_role("button", name="Good answer").click()
    expect(page.get_by_text("that is recorded in the log")).to_be_visible()
    check(page)
    page.get_by_role("button", name="Open Keys at passage 1").click()
    reader = page.get_by_role("dialog", name="Keys")
    expect(reader.locator(".passage mark").first).to_be_in_viewport()
    check(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    for view in ("Witness log", "Storage"):
        page.get_by_role("link", name=view).click()
        expect(page.get_by_role("region", name=view)).to_contain_text(re.compile("newest first|Passages"))
        if view == "Witness log":
            page.get_by_role("button", name="Details of Where is the spare key?").click()
        check(page)


def test_a_browser_without_storage_is_told_what_is_missing(context: BrowserContext):
    page = context.pages[0]
    page.add_init_script("Object.defineProperty(window, 'indexedDB', { get: () => undefined })")
    page.goto("/")
    expect(page.get_by_role("heading", name="This browser cannot hold the memory.")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="IndexedDB")).to_be_visible()


def test_a_worker_that_cannot_be_loaded_is_told_and_tried_again(page: Page, console: Console):
    console.allow("net::ERR_FAILED")
    page.route(re.compile(r"worker\.js$"), lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("heading", name="The memory stopped")).to_be_visible()
    expect(page.get_by_role("button", name="Copy details")).to_be_visible()
    page.unroute(re.compile(r"worker\.js$"))
    page.get_by_role("button", name="Start again").click()
    ready(page)


def test_a_question_asked_too_early_waits_for_the_memory(page: Page):
    page.goto("/")
    page.get_by_label("Question", exact=True).fill("Is anyone there?")
    page.get_by_role("button", name="Ask", exact=True).click()
    turn = page.get_by_role("article", name="Is anyone there?")
    expect(turn.get_by_role("button", name="Copy answer")).to_be_visible()
    expect(turn).to_contain_text("No answer found")


def test_a_long_job_can_be_cancelled_and_leaves_nothing(page: Page):
    page.goto("/")
    ready(page)
    page.get_by_role("button", name="Paste text").click()
    dialog = page.get_by_role("dialog", name="Add notes")
    dialog.get_by_label("Text", exact=True).fill(
        "\n\n".join(f"Entry {day} of the harbour log says that ferry {day * 7} was late." for day in range(700))
    )
    dialog.get_by_label("Title").fill("Harbour log")
    dialog.get_by_role("button", name="Remember text").click()
    job = page.get_by_role("region", name="Remembering “Harbour log”")
    expect(job.locator(".job-figure")).to_have_text(re.compile(r"[1-9]\d* / \d+"))
    job.get_by_role("button", name="Cancel").click()
    expect(page.locator("#dock").get_by_text("Cancelled.")).to_be_visible()
    expect(page.get_by_role("region", name="Library")).to_contain_text("Nothing remembered yet")
    page.get_by_label("Question", exact=True).fill("Which ferry was late?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("article", name="Which ferry was late?")).to_contain_text("No answer found")
