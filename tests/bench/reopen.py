"""How long a memory of many vectors takes to open and to give its first answer, natively and in Chromium.

    ./build.sh bench reopen [--count 100000] [--codec auto] [--host native|chromium] [--without-kernels]

The memory is filled and its graph built first, which takes minutes and is not counted; then it is closed and opened in a fresh page, or
by fresh objects. Exits with 1 if the first answer takes more than three seconds, or if anything was built anew for it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.bench import hosts
from tests.bench.report import report
from tests.e2e.browser import FLAGS, chromium, serving
from tests.generators import clustered

BOUND_S = 3.0
FILL_S = 30 * 60


async def measure(given):
    """Runs on either host, so it imports for itself. ``phase`` is "fill" or "open"."""
    import time

    import numpy as np

    from pyruvllm.config import Clock, Config, IndexConfig
    from pyruvllm.embed.space import Space
    from pyruvllm.memory.kernels import accelerator, open_registry
    from pyruvllm.memory.unified import UnifiedMemory
    from pyruvllm.storage import open_driver
    from pyruvllm.types import Draft

    class Embedder:
        space = Space("bench", "1")

    begun = clock = time.perf_counter()
    figures = {}

    def lap(name):
        nonlocal clock
        figures[name], clock = time.perf_counter() - clock, time.perf_counter()

    generator = {}
    exec(given["generator"], generator)
    source = generator["Clustered"]()
    queries = source.draw(20)
    begun = clock = time.perf_counter()
    driver = await open_driver(given["name"])
    lap("database")
    registry = await open_registry(driver, Clock()) if given["kernels"] else None
    lap("kernels")
    config = Config(index=IndexConfig(codec=given["codec"], exact_below=given["count"] // 2))
    memory = await UnifiedMemory.open(driver, Embedder(), config, accelerator=accelerator(registry))
    lap("memory")
    if given["phase"] == "fill":
        words = "apple boat cloud door engine field garden harbour island journey kettle ladder market needle orchard paper".split()
        random = np.random.default_rng(1)
        while (held := memory.count("patterns")) < given["count"]:
            size = min(2000, given["count"] - held)
            texts = [" ".join(random.choice(words, 12)) + f" {held + place}" for place in range(size)]
            memory.put("patterns", [Draft(text, vector=vector) for text, vector in zip(texts, source.draw(size), strict=True)])
            await memory.flush()
        lap("rows")
        await memory.grown()
        lap("graph")
    hits = memory.search_with(None, queries[0], 10, collections="patterns")
    lap("first answer")
    figures["total"] = time.perf_counter() - begun
    later = []
    for query in queries[1:]:
        start = time.perf_counter()
        memory.search_with(None, query, 10, collections="patterns")
        later.append((time.perf_counter() - start) * 1000)
    figures["later answers, p50 ms"] = float(np.median(later))
    index = memory.collection("patterns").index
    statistics = index.statistics()
    figures["index"] = {
        "kind": index.kind, "codec": index.codec, "vectors": len(index), "unsettled": index.unsettled,
        "bytes": sum(statistics.bytes.values()), "database": driver.size(), "best": [hit.id for hit in hits],
    }  # fmt: skip
    await memory.close()
    return figures


def native(given: dict[str, Any]) -> tuple[dict, dict]:
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        given = {**given, "name": str(Path(folder) / "reopen.db")}
        return tuple(asyncio.run(measure({**given, "phase": phase})) for phase in ("fill", "open"))  # type: ignore[return-value]


def in_chromium(given: dict[str, Any]) -> tuple[dict, dict]:
    given, told = {**given, "name": "reopen"}, []
    with serving() as address, tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=FLAGS)
        try:
            for phase in ("fill", "open"):
                page = context.new_page()
                page.set_default_timeout(FILL_S * 1000)
                page.goto(f"{address}manifest.webmanifest")
                told.append(json.loads(page.evaluate(hosts.START, [hosts.source(measure), json.dumps({**given, "phase": phase})])))
                page.close()
        finally:
            context.close()
    return told[0], told[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--codec", default="auto")
    parser.add_argument("--host", choices=("native", "chromium"))
    parser.add_argument("--without-kernels", action="store_true")
    options = parser.parse_args()
    given = {
        "count": options.count,
        "codec": options.codec,
        "kernels": not options.without_kernels,
        "generator": Path(clustered.__file__).read_text(),
    }
    figures: dict[str, object] = {"vectors": f"{options.count} x 768, codec {options.codec}"}
    slow = False
    for name, run in (("native", native), ("chromium", in_chromium)):
        if options.host in (None, name):
            filled, opened = run(given)
            index = opened.pop("index")
            figures[f"{name}: filled, of that the graph, s"] = f"{filled['total']:.0f}, {filled['graph']:.0f}"
            figures[f"{name}: database, index in memory, MB"] = f"{index['database'] / 1e6:.0f}, {index['bytes'] / 1e6:.0f}"
            figures |= {f"{name}: {label}" + ("" if label.endswith("ms") else ", s"): round(value, 3) for label, value in opened.items()}
            rebuilt = (index["kind"], index["unsettled"], index["best"]) != ("hnsw", 0, filled["index"]["best"])
            figures[f"{name}: opened as it was"] = "no" if rebuilt else f"yes, {index['codec']}"
            slow |= rebuilt or opened["total"] > BOUND_S
    report("reopen", figures)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
