"""The view of what computes: the pack and who signed it, what was compiled, which kernels serve what was asked for, and how fast."""

import re
import sqlite3
from pathlib import Path

from playwright.sync_api import Page, expect

from pyruvllm.kernels import keys, manifest, pack, shelf
from tests.e2e.test_main_job import ask
from tests.e2e.test_page import ready

QUESTION = "When does the lease end?"


def opened(page: Page):
    page.get_by_role("link", name="Kernels").click()
    view = page.get_by_role("region", name="Kernels", exact=True)
    expect(view.get_by_role("heading", name="Kernels", level=2)).to_be_visible()
    return view


def samples(page: Page) -> None:
    page.get_by_role("button", name=re.compile("sample", re.I)).first.click()
    expect(page.locator("#dock").get_by_text("60 documents remembered")).to_be_visible()


def figure(view, label: str):
    return view.locator(".figure-row").filter(has_text=label).locator("dd")


def test_says_what_computes_and_how_fast(page: Page):
    page.goto("/")
    expect(page.locator("#status")).to_have_attribute("data-state", "starting")
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name="Kernels", level=2)).to_be_visible()
    page.reload()  # its address is kept
    expect(page.get_by_role("heading", name="Kernels", level=2)).to_be_visible()
    expect(page.get_by_role("link", name="Kernels")).to_have_attribute("aria-current", "page")
    ready(page)
    view = page.get_by_role("region", name="Kernels", exact=True)
    expect(view).to_contain_text("None yet. Add notes and ask")
    expect(figure(view, "Signed by key")).to_have_text(re.compile("|".join(keys.pinned())))
    expect(view).to_contain_text("Verified")
    expect(view).to_contain_text("Nothing refused or banned")
    expect(figure(view, "Relaxed SIMD")).to_have_text(re.compile("yes|no"))
    expect(view.get_by_role("table")).to_have_count(0)

    page.get_by_role("link", name="PyRuvLLM, start").click()
    samples(page)
    ask(page, QUESTION)
    view = opened(page)
    expect(figure(view, "Modules compiled so far")).to_have_text(re.compile(r"[1-9]\d* of \d+"))
    expect(view).to_contain_text("Nothing refused or banned")
    table = view.get_by_role("table", name="Operations, their shape classes and kernels")
    expect(table.get_by_role("columnheader")).to_have_text(["Shape class", "Served by", "Takes", "Samples", "Uses", "Others"])
    expect(table.get_by_role("rowheader").filter(has_text=re.compile("hnsw_(scan|search)")).first).to_be_visible()

    explain = table.get_by_role("button", name=re.compile("Explain hnsw_(scan|search)")).first
    explain.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=re.compile("hnsw_"))
    expect(dialog).to_contain_text(re.compile(r"hnsw_(scan|search), .*top=\d+"))
    expect(dialog).to_contain_text("sample")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(explain).to_be_focused()
    unused = view.get_by_text("operations not used yet")
    unused.click()
    expect(view.get_by_text("matmul", exact=True)).to_be_visible()

    page.get_by_role("link", name="PyRuvLLM, start").click()
    for number in range(12):  # what is asked often is measured
        ask(page, f"{QUESTION} {number}")
    row = opened(page).get_by_role("row").filter(has_text=re.compile(r"top=\d+")).last
    expect(row.get_by_role("cell").nth(0)).to_have_text(re.compile(r"hnsw_\w+\.\w+|numpy reference"))
    expect(row.get_by_role("cell").nth(1)).to_have_text(re.compile(r"^[\d.]+ (µs|ms)$"))


def test_a_pack_that_was_altered_is_refused_and_told(page: Page, tmp_path: Path):
    page.goto("/")
    ready(page)
    page.get_by_role("link", name="Storage").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "altered.sqlite"
    download.value.save_as(file)
    altered = pack.bundled()
    altered[manifest.FILE] = altered[manifest.FILE].replace(b'"hnsw_scan"', b'"hnsw_scam"')
    with sqlite3.connect(file) as database:
        rows = [(manifest.NAME, shelf.CURRENT, name, content) for name, content in altered.items()]
        database.executemany("INSERT INTO kernel_packs VALUES (?, ?, ?, ?)", rows)
    database.close()

    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Import").click()
    chooser.value.set_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Replace").click()
    expect(page.locator("#dock").get_by_text("Imported 0 documents")).to_be_visible()
    view = opened(page)
    expect(view).to_contain_text("1 pack refused")
    fault = view.get_by_role("list", name="Not used").get_by_role("listitem")
    expect(fault).to_contain_text("The pack that is installed in this notebook was refused.")
    expect(fault).to_contain_text("the manifest was altered")
    expect(fault).to_contain_text(re.compile(f"Version {manifest.VERSION}, signed by ({'|'.join(keys.pinned())}), serves instead"))
