"""The witness log as a person looks into it: the questions, filters together, figures, proof, a hold, an archive, exports."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.logbook import FAILED, SPIKES, logbook
from tests.e2e.test_page import ready, settle, violations


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> bytes:
    """Made in a thread: Playwright has a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, logbook(tmp_path_factory.mktemp("logbook") / "logbook.db")).result()


@pytest.fixture
def log(page: Page, tmp_path: Path, image: bytes) -> Locator:
    """The log of a notebook that has a history."""
    file = tmp_path / "logbook.sqlite"
    file.write_bytes(image)
    page.goto("/#/storage")
    ready(page)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("region", name="Storage").get_by_role("button", name="Import").click()
    chooser.value.set_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Replace").click()
    expect(page.get_by_text("Imported 1 document")).to_be_visible()
    page.get_by_role("link", name="Witness log").click()
    log = page.get_by_role("region", name="Witness log")
    expect(log).to_contain_text("48 entries, newest first")
    return log


def rows(log: Locator) -> Locator:
    return log.locator(".log-row")


def question(log: Locator, words: str) -> None:
    log.get_by_role("group", name="Questions to the log").get_by_role("button", name=re.compile(words)).click()


def details(log: Locator, place: int) -> Locator:
    log.locator(".log-toggle").nth(place).click()
    return log.locator(".log-more").nth(place)


def test_the_log_is_asked_filtered_and_taken_along(page: Page, log: Locator):
    the_questions(log)
    the_filters(page, log)
    the_exports(page, log)


def test_the_log_is_verified_held_archived_and_limited(page: Page, log: Locator, tmp_path: Path):
    the_proof(page, log)
    a_hold_and_an_archive(page, log, tmp_path)
    the_retention(page, log)


def the_questions(log: Locator) -> None:
    """Each is one click."""
    question(log, "rated poorly")
    expect(log).to_contain_text("Answers that were rated below 0.5")
    for place in range(rows(log).count()):
        expect(rows(log).nth(place)).to_contain_text("0.20")
    question(log, "last hour")
    expect(log).to_contain_text("Requests of the last hour that took much longer than usual")
    expect(rows(log)).to_have_count(len(SPIKES))
    expect(rows(log).first).to_contain_text("4,000 ms")
    question(log, "failed")
    expect(log).to_contain_text("Failures like “What is the weather like in 7 days?” (QuotaError)")
    kinds = ["QuotaError", "QuotaError", "ModelError"]
    expect(rows(log).locator(".tag.bad")).to_have_text(kinds)
    assert len(kinds) == len(FAILED) - 1
    details(log, 2).get_by_role("button", name="Find similar failures").click()
    expect(log).to_contain_text("(ModelError)")
    expect(rows(log)).to_have_count(3)
    log.get_by_role("button", name="Show all").click()
    expect(log).to_contain_text("48 entries, newest first")


def the_filters(page: Page, log: Locator) -> None:
    """They go together, and the figures follow."""
    log.get_by_label("Rating", exact=True).select_option("Good")
    expect(log).to_contain_text(re.compile(r"\d+ entries, newest first"))
    log.get_by_text("More filters").click()
    log.get_by_label("Model", exact=True).select_option("350M")
    log.get_by_label("Slower than").fill("2600")
    expect(rows(log)).to_have_count(1)
    expect(rows(log)).to_contain_text("What oil does the lathe need?")
    expect(log.locator(".log-figures")).to_contain_text("1 request · rated 0.90 on average · 0 % failed")
    log.get_by_label("Find", exact=True).fill("weather")
    log.get_by_role("button", name="Clear filters").click()
    expect(log).to_contain_text("48 entries, newest first")
    log.get_by_label("Outcome").select_option("Failed: QuotaError")
    expect(rows(log)).to_have_count(3)
    log.get_by_role("button", name="Clear filters").click()
    log.get_by_label("Find", exact=True).fill("hive swarmed")
    expect(rows(log).first).to_contain_text("Which hive swarmed in May?")
    details(log, 0).get_by_role("button", name="Find similar", exact=True).click()
    expect(log).to_contain_text("47 entries, nearest first")
    log.locator(".log-figures > summary").click()
    expect(log.get_by_role("img", name=re.compile("Requests over time"))).to_be_visible()
    expect(log.get_by_role("row", name=re.compile("^Embedding 12 ms 12 ms 12 ms"))).to_be_visible()
    page.emulate_media(reduced_motion="reduce")
    settle(page)
    assert violations(page) == []


def the_proof(page: Page, log: Locator) -> None:
    """It is verified by itself, and a fingerprint can be compared."""
    proof = log.get_by_role("region", name="Is it as it was recorded?")
    expect(proof).to_contain_text("Verified: 48 entries, unbroken")
    expect(log.get_by_role("button", name="Verified: unbroken")).to_be_visible()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    proof.get_by_role("button", name="Copy the fingerprint").click()
    head = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch("[0-9a-f]{64}", head)
    proof.get_by_text("Compare with a fingerprint").click()
    noted = proof.get_by_label("Fingerprint that you noted")
    noted.fill(head)
    proof.get_by_role("button", name="Compare").click()
    expect(proof).to_contain_text("nothing since then was cut off")
    noted.fill("0" * 63 + "1")
    proof.get_by_role("button", name="Compare").click()
    expect(proof).to_contain_text("Not as it was recorded")


def a_hold_and_an_archive(page: Page, log: Locator, tmp_path: Path) -> None:
    """And the way back from the archive."""
    details(log, 0).get_by_role("button", name="Put on hold").click()
    dialog = page.get_by_role("dialog", name="Put this entry on hold?")
    dialog.get_by_label("Who asked for it").fill("Case 12, Ms Oduya")
    dialog.get_by_role("button", name="Put on hold").click()
    expect(rows(log).first).to_contain_text("on hold")

    with page.expect_download() as download:
        log.get_by_role("button", name="Write an archive").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    content = file.read_bytes()
    assert file.suffix == ".ruvw" and content[:8] == b"RUVWITN1" and b"swarmed" not in content
    page.get_by_role("dialog", name="Remove them from the log?").get_by_role("button", name="Remove 48 entries").click()
    expect(page.locator("#dock")).to_contain_text("47 entries removed; 1 on hold stays")
    expect(log).to_contain_text("1 entry, newest first")
    log.get_by_role("button", name="Check the log").click()
    expect(log).to_contain_text("Removed on purpose: 47 into archives.")

    with page.expect_file_chooser() as chooser:
        log.get_by_role("button", name="Search an archive").click()
    chooser.value.set_files(file)
    expect(log.locator(".archive-banner")).to_contain_text("an archive of 48 entries")
    question(log, "rated poorly")
    expect(rows(log).first).to_contain_text("0.20")
    log.get_by_role("button", name="Back to the log").click()
    expect(log).to_contain_text("1 entry, newest first")


def the_exports(page: Page, log: Locator) -> None:
    """What the filters show, for other programs."""
    log.get_by_role("button", name="Show all").click()
    log.get_by_label("Rating", exact=True).select_option("Poor")
    expect(rows(log).first).to_contain_text("0.20")
    poor = rows(log).count()
    with page.expect_download() as download:
        log.get_by_role("button", name="OpenTelemetry").click()
    text = Path(download.value.path()).read_text()
    [scope] = json.loads(text)["resourceSpans"][0]["scopeSpans"]
    assert len({span["traceId"] for span in scope["spans"]}) == poor and "lease" not in text
    log.get_by_label("With the words").check()
    with page.expect_download() as download:
        log.get_by_role("button", name="JSON Lines").click()
    lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert len(lines) == poor and all(line["gen_ai.retrieval.query.text"] for line in lines)


def the_retention(page: Page, log: Locator) -> None:
    """Set, and kept over a reload; what is chosen waits for Apply while the log is read again."""
    log.get_by_label("Keep entries").select_option("For 7 days")
    figures = log.locator(".log-figures")
    log.get_by_label("Rating", exact=True).select_option("Poor")
    expect(figures).to_be_hidden()
    log.get_by_role("button", name="Clear filters").click()
    expect(figures).to_be_visible()
    log.get_by_role("button", name="Apply").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    expect(page.locator("#dock")).to_contain_text("0 entries removed")
    page.reload()
    ready(page)
    expect(log.get_by_label("Keep entries")).to_have_value("7")
