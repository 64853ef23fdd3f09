"""Fixtures of the browser tests: the built page on a free port, and Chromium with a fresh profile for each ``context``.

``page`` is the everyday one: of a Chromium that all tests of the process share, for which each finds an empty origin. It has been there
before, so that the start of Python costs what a second visit does. Tests that change what is the browser's own take ``context``.

A test fails when a page of it threw, logged an error or broke the content policy; ``console.allow(regex)`` names what it expects.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect, sync_playwright

from tests.e2e.browser import FLAGS, chromium, serving

THRIFTY = "--js-flags=--wasm-tiering-budget=130000000"  # far above V8's: a test is over before compiling Pyodide a second time pays
PATIENCE = 180_000  # ms; two busy and slow cores, a cold start of Pyodide
expect.set_options(timeout=PATIENCE)


class Console:
    """What went wrong in any page of the test, as one line each."""

    def __init__(self):
        self.lines: list[str] = []
        self.allowed: list[str] = []
        self.watched: list[tuple[BrowserContext, str, Callable]] = []

    def allow(self, regex: str) -> None:
        """Errors that match are part of the test."""
        self.allowed.append(regex)

    def watch(self, context: BrowserContext) -> None:
        handlers = {
            "console": lambda message: self.lines.append(f"console: {message.text}") if message.type == "error" else None,
            "weberror": lambda error: self.lines.append(f"uncaught: {error.error}"),
            "page": self.watch_page,
        }
        for event, handler in handlers.items():
            context.on(event, handler)
            self.watched.append((context, event, handler))
        for page in context.pages:
            self.watch_page(page)

    def look_away(self) -> None:
        for context, event, handler in self.watched:
            context.remove_listener(event, handler)

    def watch_page(self, page: Page) -> None:
        page.on("crash", lambda: self.lines.append("the page's process crashed"))

    def check(self) -> None:
        unexpected = [line for line in self.lines if not any(re.search(regex, line) for regex in self.allowed)]
        assert not unexpected, "the page reported errors:\n" + "\n".join(unexpected)


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built page, with a slash at its end."""
    with serving() as address:
        yield address


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture
def console() -> Iterator[Console]:
    """The errors of all pages of the test; looked at when it ends."""
    seen = Console()
    yield seen
    seen.check()


def launched(playwright: Playwright, site: str, folder: str | Path, args: tuple[str, ...] = (), **options) -> BrowserContext:
    context = playwright.chromium.launch_persistent_context(
        folder,
        executable_path=chromium(),
        args=[*FLAGS, THRIFTY, *args],
        base_url=site,
        **{"viewport": {"width": 1280, "height": 800}, **options},
    )
    context.set_default_timeout(PATIENCE)
    return context


@pytest.fixture
def new_context(playwright: Playwright, site: str, console: Console, tmp_path) -> Iterator[Callable[..., BrowserContext]]:
    """Opens a Chromium of its own. The same profile folder again is the same person coming back. Options are Playwright's."""
    opened: list[BrowserContext] = []

    def make(profile: str | None = None, args: tuple[str, ...] = (), **options) -> BrowserContext:
        opened.append(launched(playwright, site, profile or tempfile.mkdtemp(prefix="profile-", dir=tmp_path), args, **options))
        console.watch(opened[-1])
        return opened[-1]

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def context(new_context: Callable[..., BrowserContext]) -> BrowserContext:
    """One Chromium with a fresh profile."""
    return new_context()


@pytest.fixture(scope="session")
def everyday(playwright: Playwright, site: str, tmp_path_factory) -> Iterator[BrowserContext]:
    """The Chromium that tests share, of a person who wants no motion: drawing it takes a good part of two cores."""
    context = launched(playwright, site, tmp_path_factory.mktemp("everyday"), reduced_motion="reduce")
    yield context
    context.close()


@contextmanager
def one_page(playwright: Playwright, site: str, folder: Path, **options) -> Iterator[tuple[Page, Console]]:
    """A page for tests that leave to each other what they added, and what it reported; each looks at nothing but its own."""
    context, seen = launched(playwright, site, folder, **options), Console()
    seen.watch(context)
    yield context.pages[0], seen
    context.close()


def visited(page: Page, seen: Console) -> Iterator[Page]:
    """Such a page at a new conversation; what it reported is looked at afterwards."""
    page.goto("/#/")
    yield page
    seen.check()


def leave_nothing(context: BrowserContext, site: str) -> None:
    """Closes its pages, and takes from the origin all that it kept, but for what the browser itself keeps of what it fetched."""
    blank = context.new_page()
    for page in context.pages:
        if page != blank:
            page.close()
    stores = "cookies,file_systems,indexeddb,local_storage,service_workers,cache_storage"
    context.new_cdp_session(blank).send("Storage.clearDataForOrigin", {"origin": site.rstrip("/"), "storageTypes": stores})
    context.set_offline(False)
    context.clear_permissions()


@pytest.fixture
def page(everyday: BrowserContext, site: str, console: Console) -> Iterator[Page]:
    """A blank page; ``page.goto("/")`` is the site."""
    page = everyday.new_page()
    console.watch(everyday)
    yield page
    leave_nothing(everyday, site)
    console.look_away()
