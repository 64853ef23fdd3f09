"""Protecting the notebook on the page: sealed, locked, opened again; and what lies in IndexedDB meanwhile."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect

from pyruvllm.storage import open_sealed_file
from tests.e2e.conftest import Console
from tests.e2e.test_main_job import NOTE, SECRET, STORES, ask, library, paste, ready
from tests.e2e.test_page import FITS, check

PASSPHRASE = "harbour lamp nine Tuesdays"
EVERYTHING = """async () => {
  const found = [];
  for (const { name } of await indexedDB.databases()) {
    const db = await new Promise((ok) => { indexedDB.open(name).onsuccess = (event) => ok(event.target.result); });
    for (const store of db.objectStoreNames) {
      const objects = db.transaction(store).objectStore(store);
      const requests = [objects.getAllKeys(), objects.getAll()];
      const [keys, values] = await Promise.all(requests.map((r) => new Promise((ok) => (r.onsuccess = () => ok(r.result)))));
      for (const [i, value] of values.entries()) {
        const bytes = value instanceof Uint8Array ? value : value?.body instanceof Uint8Array ? value.body : new Uint8Array();
        const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        found.push([name, store, String(keys[i]), Array.from(hash).join()]);
      }
    }
    db.close();
  }
  return found;
}"""


def storage(page: Page):
    page.get_by_role("link", name="Storage").click()
    view = page.get_by_role("region", name="Protection")
    expect(view.get_by_role("button").first).to_be_enabled()
    return view


def protect(page: Page, way: str, passphrase: str | None = PASSPHRASE, button: str = "Protect this notebook"):
    storage(page).get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name=re.compile(f"^{way}")).check()
    if passphrase:
        dialog.get_by_label("New passphrase", exact=True).fill(passphrase)
        dialog.get_by_label("The same once more", exact=True).fill(passphrase)
    dialog.get_by_role("button", name=re.compile("^(Protect|Change)$")).click()
    return dialog


@pytest.fixture
def noted(page: Page) -> Page:
    page.goto("/")
    ready(page)
    paste(page, NOTE, "Lease")
    return page


def test_sealed_reloaded_unlocked_and_asked(noted: Page):
    page = noted
    assert page.evaluate(STORES, SECRET)["secret"]
    dialog = protect(page, "A passphrase\\b(?!, and)", "short")
    expect(dialog.get_by_role("alert")).to_contain_text("at least 8 characters")
    dialog.get_by_label("New passphrase", exact=True).fill(PASSPHRASE)
    expect(dialog.get_by_text("Strong")).to_be_visible()
    dialog.get_by_role("button", name="Protect").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not the same")
    dialog.get_by_label("The same once more", exact=True).fill(PASSPHRASE)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("region", name="Protection")).to_contain_text("Opens with a passphrase")
    stored = page.evaluate(STORES, SECRET)
    assert stored["bytes"] > 100_000 and not stored["secret"]

    page.reload()
    field = page.get_by_label("Passphrase", exact=True)
    expect(field).to_be_focused()
    expect(page.locator("#status")).to_have_attribute("data-state", "locked")
    expect(page.locator("#composer")).to_have_attribute("inert", "")
    before = page.evaluate(EVERYTHING)
    page.keyboard.type("harbour lamp ten Tuesdays")
    page.keyboard.press("Enter")
    expect(page.locator("#unlock-problem")).to_contain_text("That is not the passphrase")
    assert page.evaluate(EVERYTHING) == before
    page.get_by_label("Passphrase", exact=True).fill(PASSPHRASE)
    page.get_by_role("button", name="Unlock", exact=True).click()
    ready(page)
    expect(ask(page, "When does the lease end?")).to_contain_text("31 January 2029")
    assert not page.evaluate(STORES, SECRET)["secret"]


def test_locking_clears_the_page_and_the_device_key_waits_for_a_person(noted: Page):
    page = noted
    protect(page, "A passphrase, and this browser")
    expect(page.get_by_text("The notebook is protected").first).to_be_attached()
    page.reload()
    ready(page)  # this browser opens it unasked
    page.evaluate("location.hash = '#/'")
    ask(page, "When does the lease end?")
    page.get_by_label("Question", exact=True).fill("half a question about Zanzibar-7741")
    storage(page).get_by_role("button", name="Lock now").click()
    expect(page.get_by_role("heading", name="This notebook is locked.")).to_be_visible()
    assert SECRET not in page.content() and "Lease" not in page.content()
    assert SECRET not in page.evaluate("JSON.stringify([{ ...sessionStorage }, { ...localStorage }])")
    expect(page.get_by_label("Passphrase", exact=True)).to_be_focused()
    page.reload()
    expect(page.get_by_role("heading", name="This notebook is locked.")).to_be_visible()  # and stays so in this tab
    page.get_by_role("button", name="Unlock with this device").click()
    ready(page)
    expect(library(page, "Lease")).to_be_visible()


def test_protection_is_changed_and_removed_and_an_export_is_sealed(noted: Page, tmp_path):
    page = noted
    protect(page, "A passphrase\\b(?!, and)")
    expect(page.get_by_role("region", name="Protection")).to_contain_text("Opens with a passphrase")
    data = [row for row in page.evaluate(EVERYTHING) if row[1] != "meta"]
    storage(page).get_by_role("button", name="Change").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Current passphrase", exact=True).fill("wrong wrong")
    dialog.get_by_role("radio", name=re.compile("^This browser only")).check()
    dialog.get_by_role("button", name="Change", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("not the current passphrase")
    dialog.get_by_label("Current passphrase", exact=True).fill(PASSPHRASE)
    dialog.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_role("region", name="Protection")).to_contain_text("Opens in this browser only")
    assert [row for row in page.evaluate(EVERYTHING) if row[1] != "meta"] == data
    page.reload()
    ready(page)
    storage(page).get_by_role("button", name="Remove protection").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove protection").click()
    expect(page.get_by_role("region", name="Protection")).to_contain_text("Not protected")
    assert page.evaluate(STORES, SECRET)["secret"]

    # a sealed export opens natively and comes back
    page.get_by_role("button", name="Save sealed").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New passphrase", exact=True).fill(PASSPHRASE)
    dialog.get_by_label("The same once more", exact=True).fill(PASSPHRASE)
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Export").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name.endswith(".pyruvllm.sealed") and SECRET.encode() not in file.read_bytes()
    with ThreadPoolExecutor() as aside:  # this thread has an event loop of its own already
        image = aside.submit(asyncio.run, open_sealed_file(file.read_bytes(), PASSPHRASE)).result()
    assert SECRET.encode() in image

    page.get_by_role("button", name="Forget document Lease").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget", exact=True).click()
    expect(library(page, "Lease")).to_have_count(0)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Import").click()
    chooser.value.set_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Replace").click()
    asked = page.get_by_role("dialog", name="A sealed file")
    asked.get_by_label("Passphrase", exact=True).fill(PASSPHRASE)
    asked.get_by_role("button", name="Import").click()
    expect(library(page, "Lease")).to_be_visible()


def test_a_tampered_notebook_says_so_and_is_left_alone(noted: Page, console: Console):
    page = noted
    console.allow("404")  # a file shown by itself asks for an icon
    protect(page, "This browser only", None)
    expect(page.get_by_role("region", name="Protection")).to_contain_text("Opens in this browser only")
    page.goto("/manifest.webmanifest")  # the same origin without the page, which has the memory open
    page.evaluate("""async () => {
      const db = await new Promise((ok) => { indexedDB.open("pyruvllm:notebook").onsuccess = (event) => ok(event.target.result); });
      const base = db.transaction("base", "readwrite").objectStore("base");
      const record = await new Promise((ok) => { base.get(0).onsuccess = (event) => ok(event.target.result); });
      record[1000] ^= 1;
      await new Promise((ok) => { base.put(record, 0).onsuccess = ok; });
      db.close();
    }""")
    before = page.evaluate(EVERYTHING)
    page.goto("/")
    expect(page.get_by_role("heading", name="The protected notebook was altered on this device")).to_be_visible()
    expect(page.get_by_text("TamperedError")).to_be_visible()
    assert page.evaluate(EVERYTHING) == before


def test_protection_is_for_everybody(new_context):
    page = new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce").pages[0]
    page.goto("/#/storage")
    ready(page)
    view = page.get_by_role("region", name="Protection")
    view.get_by_role("button", name="Protect this notebook").click()
    check(page)
    assert page.evaluate(FITS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New passphrase", exact=True).fill(PASSPHRASE)
    dialog.get_by_label("The same once more", exact=True).fill(PASSPHRASE)
    page.keyboard.press("Enter")
    expect(view).to_contain_text("Opens with a passphrase")
    check(page)
    assert page.evaluate(FITS)
    view.get_by_role("button", name="Lock now").click()
    field = page.get_by_label("Passphrase", exact=True)
    expect(field).to_be_focused()
    check(page)
    assert page.evaluate(FITS)
    page.keyboard.type("not this one")
    page.keyboard.press("Enter")
    expect(page.locator("#unlock-problem")).to_contain_text("That is not the passphrase")
    check(page)
    assert page.evaluate(FITS)
