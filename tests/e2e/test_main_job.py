"""The main job as a person does it: add, ask, see why, come back, take along, forget, and a second tab."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

NOTE = (
    "Signed the new lease for Quay Street 14. It runs for three years and ends on 31 January 2029. "
    "Zanzibar-7741 is the deposit's reference."
)
SECRET = "Zanzibar-7741"

STORES = """async (secret) => {
  const found = { databases: [], bytes: 0, secret: false };
  for (const { name } of await indexedDB.databases()) {
    found.databases.push(name);
    const db = await new Promise((ok, no) => {
      const r = indexedDB.open(name);
      r.onsuccess = () => ok(r.result);
      r.onerror = () => no(r.error);
    });
    for (const store of db.objectStoreNames) {
      const all = await new Promise((ok) => {
        const r = db.transaction(store).objectStore(store).getAll();
        r.onsuccess = () => ok(r.result);
      });
      for (const value of all.flatMap((v) => v instanceof Uint8Array || v instanceof ArrayBuffer ? [v] : Object.values(v ?? {}))) {
        if (!(value instanceof Uint8Array || value instanceof ArrayBuffer)) continue;
        const bytes = value instanceof Uint8Array ? value : new Uint8Array(value);
        found.bytes += bytes.length;
        if (new TextDecoder("latin1").decode(bytes).includes(secret)) found.secret = true;
      }
    }
    db.close();
  }
  return found;
}"""


def ready(page: Page) -> None:
    expect(page.locator("#status")).to_have_attribute("data-state", re.compile("ready|readonly"))


@pytest.fixture
def home(page: Page) -> Page:
    page.goto("/")
    ready(page)
    return page


def paste(page: Page, text: str, title: str) -> None:
    page.get_by_role("button", name="Add notes").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Text", exact=True).fill(text)
    dialog.get_by_label("Title").fill(title)
    dialog.get_by_role("button", name="Remember text").click()
    expect(library(page, title)).to_be_visible()


def library(page: Page, title: str):
    return page.get_by_role("region", name="Library").get_by_role("button", name=title).first


def ask(page: Page, question: str):
    page.get_by_role("textbox", name="Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    turn = page.get_by_role("article", name=question).last
    expect(turn.get_by_role("button", name="Copy answer")).to_be_visible()
    return turn


def forget(page: Page, title: str) -> None:
    page.get_by_role("button", name=f"Forget document {title}").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget", exact=True).click()
    expect(library(page, title)).to_have_count(0)


def test_add_ask_reload_forget(home: Page):
    page = home
    paste(page, NOTE, "Lease")
    paste(page, "Rehearsal of the choir is on Tuesdays at half past seven in the net loft.", "Choir")
    turn = ask(page, "When does the lease of the workshop end?")
    expect(turn).to_contain_text("ends on 31 January 2029")
    expect(turn.get_by_role("button", name="Source 1: Lease").first).to_be_visible()
    evidence = page.get_by_role("complementary", name="Sources of the answer")
    expect(evidence).to_contain_text("Lease")
    expect(evidence).to_contain_text("lease")  # a word they share

    page.reload()
    ready(page)
    expect(library(page, "Lease")).to_be_visible()
    expect(page.get_by_role("article").first).to_contain_text("ends on 31 January 2029")  # the conversation came back, by its address
    expect(page.get_by_role("button", name="Source 1: Lease").first).to_be_visible()
    assert page.evaluate(STORES, SECRET)["secret"]

    forget(page, "Lease")
    expect(page.get_by_role("article").first).to_contain_text("quoted a document that was forgotten")
    expect(page.get_by_text("ends on 31 January 2029")).to_have_count(0)
    page.get_by_role("button", name=re.compile("Forget conversation")).click()
    page.get_by_role("dialog").get_by_role("button", name="Forget", exact=True).click()
    expect(page.get_by_text("The conversation is forgotten")).to_be_visible()
    assert page.evaluate(STORES, "in the net loft")["secret"]
    assert not page.evaluate(STORES, SECRET)["secret"]
    turn = ask(page, "When does the lease of the workshop end?")
    expect(turn).not_to_contain_text("31 January")
    page.reload()
    ready(page)
    expect(library(page, "Lease")).to_have_count(0)
    expect(library(page, "Choir")).to_be_visible()


def test_a_rating_is_in_the_log_and_there_when_the_conversation_is_opened_again(home: Page):
    page = home
    paste(page, NOTE, "Lease")
    turn = ask(page, "When does the lease end?")
    turn.get_by_role("button", name=re.compile("helpful|good|right", re.I)).first.click()
    expect(page.get_by_text("that is recorded in the log")).to_be_visible()
    page.get_by_role("link", name="Witness log").click()
    log = page.get_by_role("region", name="Witness log")
    expect(log).to_contain_text("When does the lease end?")
    page.reload()
    ready(page)
    expect(log).to_contain_text("When does the lease end?")
    page.go_back()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Poor answer")).to_have_attribute("aria-pressed", "false")


def test_the_sample_notebook_answers(home: Page):
    page = home
    page.get_by_role("button", name="Load the sample notebook").click()
    expect(page.get_by_role("region", name="Library")).to_contain_text("Jonas", timeout=120_000)
    for question, words in {
        "Why does the Annika's engine overheat, and what fixed it?": "impeller",
        "What may Jonas not eat?": "hazelnuts",
        "Which hive swarmed in May?": "Hive three swarmed",
        "What oil does the lathe need?": "ISO VG 22",
    }.items():
        expect(ask(page, question)).to_contain_text(words)


def test_a_broken_file_is_refused_then_export_delete_everything_import(home: Page, tmp_path: Path):
    page = home
    paste(page, NOTE, "Lease")
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"SQLite format 3\0" + b"\x5a" * 20_000)
    page.get_by_role("link", name="Storage").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("region", name="Storage").get_by_role("button", name="Import").click()
    chooser.value.set_files(broken)
    page.get_by_role("dialog").get_by_role("button", name="Replace").click()
    expect(page.get_by_text("Not imported, everything is as it was")).to_be_visible()
    page.reload()
    ready(page)
    expect(library(page, "Lease")).to_be_visible()

    storage = page.get_by_role("region", name="Storage")
    with page.expect_download() as download:
        storage.get_by_role("button", name="Export").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.read_bytes()[:15] == b"SQLite format 3"

    storage.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    sure = dialog.get_by_role("button", name="Delete everything")
    expect(sure).to_be_disabled()
    dialog.get_by_role("textbox").fill("delete")
    sure.click()
    page.wait_for_url(re.compile(r"/(#/)?$"))
    ready(page)
    expect(page.get_by_role("region", name="Library")).to_contain_text("Nothing remembered yet")
    assert not page.evaluate(STORES, SECRET)["secret"]

    page.get_by_role("link", name="Storage").click()
    with page.expect_file_chooser() as chooser:
        storage.get_by_role("button", name="Import").click()
    chooser.value.set_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Replace").click()
    expect(library(page, "Lease")).to_be_visible()
    page.goto("/#/")
    expect(ask(page, "When does the lease end?")).to_contain_text("31 January 2029")


def test_a_full_disk_is_said_and_a_later_try_saves(context: BrowserContext, site: str, tmp_path: Path):
    page = context.pages[0]
    devtools = context.new_cdp_session(page)  # before anything is stored: Chromium remembers for a while how much room there was
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": site.rstrip("/"), "quotaSize": 2 << 20})
    page.goto("/")
    ready(page)
    large = tmp_path / "Lease.txt"
    large.write_text(NOTE + " " * (3 << 20))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(large)
    expect(page.get_by_text("The disk is full.")).to_be_visible()
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": site.rstrip("/")})
    page.locator("#notices").get_by_role("button", name="Try again").click()
    expect(page.get_by_text("The disk is full.")).to_have_count(0)
    expect(library(page, "Lease")).to_be_visible()
    page.reload()
    ready(page)
    expect(ask(page, "When does the lease end?")).to_contain_text("31 January 2029")
