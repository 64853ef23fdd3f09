"""The page on a phone: nothing lies beside the screen, targets are large enough, and everybody can read it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Console, one_page, visited
from tests.e2e.test_kernels import QUESTION, opened
from tests.e2e.test_main_job import ask
from tests.e2e.test_page import FITS, PHONE, check, ready, remember, violations


@pytest.fixture(scope="module")
def held(playwright, site: str, tmp_path_factory) -> Iterator[tuple[Page, Console]]:
    with one_page(playwright, site, tmp_path_factory.mktemp("phone"), reduced_motion="reduce", **PHONE) as (page, seen):
        page.goto("/")
        ready(page)
        yield page, seen


@pytest.fixture
def phone(held: tuple[Page, Console]) -> Iterator[Page]:
    yield from visited(*held)


def test_touch_targets_are_large_enough(phone: Page):
    page = phone
    page.get_by_role("button", name="Open menu").click()
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, a[href], textarea, select, input")]
          .filter((one) => one.offsetParent && !one.closest("[inert]") && one.id !== "skip")
          .map((one) => [one.getAttribute("aria-label") || one.textContent, one.getBoundingClientRect()])
          .filter(([, box]) => box.height < 44 || box.width < 44)
          .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)"""
    )
    assert small == []


def test_the_models_fit(phone: Page):
    page = phone
    page.goto("/#/models")
    expect(page.locator("#view-models")).to_contain_text("Qwen3 0.6B")
    page.locator(".model-settings summary").click()
    assert page.evaluate(FITS) and violations(page) == []


def test_the_memory_in_use_fits(phone: Page):
    page = phone
    page.goto("/#/memory")
    expect(page.locator("#view-memory")).to_contain_text("No language model is loaded")
    assert page.evaluate(FITS) and violations(page) == []


def test_a_phone_needs_no_sideways_scrolling(phone: Page):
    page = phone
    assert page.evaluate(FITS)
    remember(page, "The spare key hangs with Pavel at the bakery. " * 3, "A_title_without_any_place_" + "where_a_line_could_break_" * 3)
    page.get_by_label("Question", exact=True).fill("Where is the spare key?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    assert page.evaluate(FITS)
    page.get_by_role("button", name=re.compile("Source 1")).first.click()
    evidence = page.get_by_role("complementary", name="Sources of the answer")
    expect(evidence.locator(".source").first).to_be_in_viewport()
    assert page.evaluate(FITS)
    page.keyboard.press("Escape")
    expect(evidence.locator(".source").first).not_to_be_in_viewport()
    menu = page.get_by_role("button", name="Open menu")
    for view in ("Witness log", "Storage"):
        menu.click()
        page.get_by_role("link", name=view).click()
        expect(page.get_by_role("region", name=view)).to_be_visible()
        assert page.evaluate(FITS)


def test_anyone_can_read_what_computes(phone: Page):
    page = phone
    remember(page, "Signed the new lease for Quay Street 14. It ends on 31 January 2029.", "Lease")
    ask(page, QUESTION)
    page.get_by_role("button", name="Open menu").click()
    view = opened(page)
    expect(view.get_by_role("table")).to_be_visible()
    check(page)
    assert page.evaluate(FITS)
    view.get_by_role("button", name="Explain").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page)
    assert page.evaluate(FITS)
    page.keyboard.press("Escape")
