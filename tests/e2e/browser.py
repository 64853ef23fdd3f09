"""The browser and the server of tests and measurements: what web/build has, under names that tests import."""

import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "web" / "build"))

import chromium as browsers  # noqa: E402
import serve  # noqa: E402

DIST = ROOT / "web" / "dist"
FLAGS = list(browsers.FLAGS)
HEADERS = serve.HEADERS  # of every answer


def chromium() -> str:
    """The path of the browser to test with."""
    return browsers.ensure()


def serving(*roots: Path) -> AbstractContextManager[str]:
    """The address of a server over these folders, or over the built page, while the block runs."""
    return serve.serving(*(roots or [DIST]))


def until(page: Page, holds: str, seconds: float = 180) -> None:
    """Returns when an expression holds in the page. Playwright's ``wait_for_function`` evaluates text there, which the policy forbids."""
    late = time.monotonic() + seconds
    while not page.evaluate(holds):
        assert time.monotonic() < late, f"{holds} did not come to hold within {seconds} s"
        page.wait_for_timeout(50)
