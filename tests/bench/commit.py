"""What a durable commit costs as the database grows, plain and sealed, in Chromium and natively.

    ./build.sh bench commit [--large 100] [--rows 100] [--commits 60]

Rows of 3.5 KB, saved in databases of 1 MB and of ``--large`` MB, plain and sealed, in turns, so that all meet the same noise. Exits with
1 if the median in a large one is more than three times that in the small one of its kind. Writes tests/bench/out/commit.json.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from pyruvllm.host import current
from pyruvllm.storage import Driver, Secret, open_driver
from tests.bench.report import report
from tests.e2e.browser import FLAGS, chromium
from tests.e2e.storage_page import storage_site

MB = 1 << 20
LARGEST_RATIO = 3
KEPT_SMALL = 3  # commits into one small database, so that it stays small
SETTLE_MS = 3000  # for the folding that filling leaves behind
KINDS = ("plain", "sealed")
Took = dict[tuple[str, str], list[float]]  # milliseconds, by kind and size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=int, default=100, help="MB of the large database")
    parser.add_argument("--rows", type=int, default=100, help="rows in a commit")
    parser.add_argument("--commits", type=int, default=60, help="commits measured in each")
    options = parser.parse_args()
    figures: dict[str, object] = {}
    worst = 0.0
    for host, measure in (("Chromium", in_chromium), ("native", natively)):
        took, others = measure(options)
        worst = max(worst, described(host, took, options, figures))
        figures |= {f"{host}, {what}": figure for what, figure in others.items()}
    report("commit", figures)
    return int(worst > LARGEST_RATIO)


def described(host: str, took: Took, options: argparse.Namespace, figures: dict[str, object]) -> float:
    """Adds what was measured on a host; returns the largest ratio of a large database to a small one."""
    medians = {place: statistics.median(times) for place, times in took.items()}
    for (kind, size), times in took.items():
        name = f"{host}, {kind}, {'1 MB' if size == 'small' else f'{options.large} MB'}"
        figures[f"{name}: {options.rows} rows durable, median ms"] = round(medians[kind, size], 1)
        figures[f"{name}: the same, 95th percentile ms"] = round(statistics.quantiles(times, n=20)[18], 1)
    ratios = {kind: medians[kind, "large"] / medians[kind, "small"] for kind in KINDS}
    for kind, ratio in ratios.items():
        figures[f"{host}, {kind}: large to small (at most {LARGEST_RATIO})"] = round(ratio, 2)
    for size in ("small", "large"):
        figures[f"{host}, {size}: sealed to plain"] = round(medians["sealed", size] / medians["plain", size], 2)
    return max(ratios.values())


def in_chromium(options: argparse.Namespace) -> tuple[Took, dict[str, object]]:
    took: Took = {(kind, size): [] for kind in KINDS for size in ("small", "large")}
    reopened: dict[str, object] = {}
    with chromium_page() as page:
        for kind in KINDS:
            filled(page, f"large-{kind}", options.large * MB, kind)
        page.wait_for_timeout(SETTLE_MS)
        for turn in range(options.commits):
            for kind in KINDS:
                name = f"small-{kind}-{turn // KEPT_SMALL}"
                if turn % KEPT_SMALL == 0:
                    filled(page, name, MB, kind)
                took[kind, "small"].append(committed(page, name, options.rows))
                took[kind, "large"].append(committed(page, f"large-{kind}", options.rows))
        for kind in KINDS:
            name = f"large-{kind}"
            page.evaluate("name => storage.close(name)", name)
            start = time.perf_counter()
            page.evaluate("name => storage.open(name)", name)
            reopened[f"{kind}, {options.large} MB: reopened, ms"] = round((time.perf_counter() - start) * 1000)
            assert page.evaluate("name => storage.inspect(name).integrity", name) == "ok"
    return took, reopened


@contextmanager
def chromium_page() -> Iterator[Page]:
    with (
        storage_site() as address,
        tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as profile,
        sync_playwright() as playwright,
    ):
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=FLAGS)
        page = context.pages[0]
        page.set_default_timeout(0)
        page.goto(f"{address}storage.html")
        yield page
        context.close()


def natively(options: argparse.Namespace) -> tuple[Took, dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        return asyncio.run(measured_natively(Path(folder), options))


async def measured_natively(folder: Path, options: argparse.Namespace) -> tuple[Took, dict[str, object]]:
    took: Took = {(kind, size): [] for kind in KINDS for size in ("small", "large")}
    figures: dict[str, object] = {}
    large = {kind: await filled_natively(folder / f"large-{kind}", options.large * MB, kind) for kind in KINDS}
    for group in range(-(-options.commits // KEPT_SMALL)):
        small = {kind: await filled_natively(folder / f"small-{kind}-{group}", MB, kind) for kind in KINDS}
        for _ in range(KEPT_SMALL):
            for kind in KINDS:
                took[kind, "small"].append(await committed_natively(small[kind], options.rows))
                took[kind, "large"].append(await committed_natively(large[kind], options.rows))
        for driver in small.values():
            await driver.close()
    for kind in KINDS:
        await large[kind].close()
        before, start = current().memory_bytes() or 0, time.perf_counter()
        driver = await open_driver(str(folder / f"large-{kind}"))
        figures[f"{kind}, {options.large} MB: reopened, ms"] = round((time.perf_counter() - start) * 1000)
        figures[f"{kind}, {options.large} MB: memory for having it open, MB"] = round(((current().memory_bytes() or 0) - before) / MB)
        assert driver.query("PRAGMA integrity_check") == [("ok",)]
        await driver.close()
    return took, figures


async def filled_natively(path: Path, size: int, kind: str) -> Driver:
    driver = await open_driver(str(path), secret=Secret(device_key=True) if kind == "sealed" else None)
    driver.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, batch INTEGER, body TEXT)")
    while driver.size() < size:
        await committed_natively(driver, 500)
    return driver


async def committed_natively(driver: Driver, rows: int) -> float:
    """Milliseconds until rows were inserted and durable."""
    start = time.perf_counter()
    driver.executemany("INSERT INTO rows (batch, body) VALUES (0, ?)", [("A" * 3500,)] * rows)
    await driver.flush()
    took = (time.perf_counter() - start) * 1000
    await asyncio.sleep(0)  # what a flush leaves for later has its turn, as between requests
    return took


def filled(page: Page, name: str, size: int, kind: str) -> None:
    """Makes a database of that many bytes."""
    page.evaluate("([name, deviceKey]) => storage.open(name, deviceKey ? { deviceKey } : {})", [name, kind == "sealed"])
    page.evaluate("([name, bytes]) => storage.fill(name, bytes)", [name, size])


def committed(page: Page, name: str, rows: int) -> float:
    """Milliseconds until rows were inserted and durable."""
    return page.evaluate("([name, rows]) => storage.commit(name, rows)", [name, rows])


if __name__ == "__main__":
    sys.exit(main())
