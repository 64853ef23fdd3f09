"""What a write through another tab costs, and how long it takes until another tab writes when the one that did is killed, in Chromium.

    ./build.sh bench tabs [--writes 30] [--kills 6] [--large 0]

Writes: a question asked and recorded durably, by the worker of the tab that writes and by that of one that follows, each while the other
is idle. Takeover: from the kill to the moment at which the follower writes, by the store alone and by whole workers in turns of closing and
crashing. ``--large`` MB: opens a database of that size as well, in both roles.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.bench.report import report
from tests.e2e.browser import FLAGS, chromium, serving, until
from tests.e2e.killing import crash
from tests.e2e.storage_page import storage_site
from tests.e2e.workers import blank, start

BOUND_MS = 1000


def middle(took: list[float]) -> str:
    return f"{statistics.median(took):.1f} (p95 {statistics.quantiles(took, n=20)[18]:.1f})" if len(took) > 1 else f"{took[0]:.1f}"


def store(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.set_default_timeout(0)
    page.goto(f"{address}storage.html")
    page.wait_for_load_state("load")
    page.evaluate("storage.open('bench')")
    return page


def taken_over(writer: Page, follower: Page, roles: str, violently: bool) -> float:
    """Milliseconds from the kill until the follower writes."""
    begun = time.time() * 1000
    crash(writer) if violently else writer.close()
    until(follower, f"{roles}.some(([role]) => role === 'writer')")
    return follower.evaluate(f"{roles}.find(([role]) => role === 'writer')[2]") - begun


def of_the_store(context: BrowserContext, writes: int, kills: int, large: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    with storage_site() as address:
        writer = store(context, address)
        if large:
            writer.evaluate("(bytes) => storage.fill('bench', bytes)", large << 20)
        begun = time.perf_counter()
        follower = store(context, address)
        if large:
            figures[f"store of {large} MB: opened as the second tab, s"] = round(time.perf_counter() - begun, 1)
        own = [writer.evaluate("storage.commit('bench', 10)") for _ in range(writes)]
        asked = follower.evaluate("(count) => storage.ask('bench', 1000, count)", writes)
        figures["store: 10 rows of 3.5 KB durable, own, ms"] = middle(own)
        figures["store: the same asked of the writer and read back, ms"] = middle(asked)
        took = []
        for turn in range(kills):
            took.append(taken_over(writer, follower, "storage.roles()", bool(turn % 2)))
            writer, follower = follower, store(context, address)
        figures["store: takeover after a kill, ms"] = middle(took)
        figures["store: the longest"] = round(max(took))
    return figures


def of_workers(context: BrowserContext, writes: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    with serving() as address:
        tabs = []
        for _ in range(3):
            tabs.append(blank(context, address))
            start(tabs[-1], "bench")
        for name, page in (("the writer", tabs[0]), ("a follower", tabs[1])):
            page.evaluate("(name) => busy(name, 3)", name)
            took = page.evaluate("([name, count]) => busy(name, count)", [name, writes])
            figures[f"worker: a question answered and recorded by {name}, ms"] = middle(took)
        took = [taken_over(tabs[0], tabs[1], "roles", False), taken_over(tabs[1], tabs[2], "roles", True)]
        figures["worker: takeover after closing; after a crash, ms"] = f"{took[0]:.0f}; {took[1]:.0f}"
        figures["worker: the longest"] = round(max(took))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writes", type=int, default=30)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--large", type=int, default=0, help="MB of the database of the store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(str(Path(profile)), executable_path=chromium(), args=FLAGS)
        try:
            figures = of_the_store(context, options.writes, options.kills, options.large) | of_workers(context, options.writes)
        finally:
            context.close()
    report("tabs", figures)
    return int(max(float(value) for name, value in figures.items() if name.endswith("the longest")) > BOUND_MS)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
