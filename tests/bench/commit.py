"""What a durable commit costs as the database grows, in Chromium.

    ./build.sh bench commit [--large 100] [--rows 100] [--commits 60]

Rows of 3.5 KB, saved in databases of 1 MB and of ``--large`` MB in turns, so that both meet the same noise. Exits with 1 if the
median in the large one is more than three times that in the small one. Writes tests/bench/out/commit.json.
"""

import argparse
import statistics
import sys
import tempfile
import time

from playwright.sync_api import Page, sync_playwright

from tests.bench.report import report
from tests.e2e.browser import FLAGS, chromium
from tests.e2e.storage_page import storage_site

MB = 1 << 20
LARGEST_RATIO = 3
KEPT_SMALL = 3  # commits into one small database, so that it stays small
SETTLE_MS = 3000  # for the folding that filling leaves behind


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=int, default=100, help="MB of the large database")
    parser.add_argument("--rows", type=int, default=100, help="rows in a commit")
    parser.add_argument("--commits", type=int, default=60, help="commits measured in each")
    options = parser.parse_args()
    small, large = [], []  # milliseconds
    with (
        storage_site() as address,
        tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as profile,
        sync_playwright() as playwright,
    ):
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=FLAGS)
        page = context.pages[0]
        page.set_default_timeout(0)
        page.goto(f"{address}storage.html")
        filled(page, "large", options.large * MB)
        page.wait_for_timeout(SETTLE_MS)
        for turn in range(options.commits):
            name = f"small-{turn // KEPT_SMALL}"
            if turn % KEPT_SMALL == 0:
                filled(page, name, MB)
            small.append(committed(page, name, options.rows))
            large.append(committed(page, "large", options.rows))
        page.evaluate("storage.close('large')")
        start = time.perf_counter()
        page.evaluate("storage.open('large')")
        reopened = (time.perf_counter() - start) * 1000
        assert page.evaluate("storage.inspect('large').integrity") == "ok"
        context.close()
    ratio = statistics.median(large) / statistics.median(small)
    figures: dict[str, object] = {}
    for name, took in (("1 MB", small), (f"{options.large} MB", large)):
        figures[f"{name}: {options.rows} rows durable, median ms"] = round(statistics.median(took), 1)
        figures[f"{name}: the same, 95th percentile ms"] = round(statistics.quantiles(took, n=20)[18], 1)
    figures[f"{options.large} MB: reopened, ms"] = round(reopened)
    figures[f"ratio of the medians (at most {LARGEST_RATIO})"] = round(ratio, 2)
    report("commit", figures)
    return int(ratio > LARGEST_RATIO)


def filled(page: Page, name: str, size: int) -> None:
    """Makes a database of that many bytes."""
    page.evaluate("name => storage.open(name)", name)
    page.evaluate("([name, bytes]) => storage.fill(name, bytes)", [name, size])


def committed(page: Page, name: str, rows: int) -> float:
    """Milliseconds until rows were inserted and durable."""
    return page.evaluate("([name, rows]) => storage.commit(name, rows)", [name, rows])


if __name__ == "__main__":
    sys.exit(main())
