"""What a person at the page waits for and pays, in Chromium.

    ./build.sh bench page [--passages 1000] [--asks 50]

Cold and warm start to ready, bytes downloaded, passages embedded and committed, a question with its steps, memory held by the
renderer over a bare Pyodide + numpy. Prints a table and writes tests/bench/out/page.json.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import ClassVar

from playwright.sync_api import Page, sync_playwright

from tests.bench.report import report
from tests.e2e.browser import FLAGS, chromium, serve, serving

SUBJECTS = "harbour lathe boiler orchard ferry violin kiln greenhouse archive bakery observatory tram canal loom printing-press".split()
PEOPLE = "Marta Pavel Ingrid Jonas Samira Haile Holm Brandt Okafor Solberg Lund Adeyemi".split()
EVENTS = (
    "{who} measured the {what} on {day} and found {n} millimetres of play in the {part}.",
    "The {part} of the {what} was replaced by {who} for {n} crowns, and the old one was kept in drawer {m}.",
    "On {day} the {what} stood still for {m} hours because the {part} had frozen, as {who} had warned.",
    "{who} wrote down that the {what} needs {n} grams of grease at the {part} every {m} weeks.",
    "Nobody but {who} knows why the {what} hums; it is the {part}, which was turned from a brass rod number {n}.",
)
PARTS = "bearing valve spindle gasket pulley thermostat hinge bellows shutter bobbin ratchet damper".split()
DAYS = [f"{day} {month}" for month in ("January", "March", "May", "July", "October") for day in (3, 9, 14, 21, 28)]

CALL = """([method, params]) => new Promise((done, failed) => {
  globalThis.benchWorker ??= new Worker("./worker.js", { type: "module" });
  const id = (globalThis.benchId = (globalThis.benchId ?? 0) + 1), begun = performance.now();
  const listen = ({ data }) => {
    if (data.id !== id || data.event) return;
    globalThis.benchWorker.removeEventListener("message", listen);
    if (data.error) failed(new Error(data.error.kind + ": " + data.error.message));
    else done({ ms: performance.now() - begun, result: data.result });
  };
  globalThis.benchWorker.addEventListener("message", listen);
  globalThis.benchWorker.postMessage({ id, method, params });
})"""

BARE = """async () => {
  const { loadPyodide } = await import("./pyodide/pyodide.mjs");
  globalThis.bare = await loadPyodide({ indexURL: "./pyodide/" });
  await globalThis.bare.loadPackage("numpy");
  await globalThis.bare.runPythonAsync("import numpy");
}"""


def passages(count: int, seed: int = 7) -> list[str]:
    """Notes of three sentences, about 60 words each."""
    rng = random.Random(seed)

    def sentence() -> str:
        return rng.choice(EVENTS).format(
            who=rng.choice(PEOPLE),
            what=rng.choice(SUBJECTS),
            part=rng.choice(PARTS),
            day=rng.choice(DAYS),
            n=rng.randint(2, 900),
            m=rng.randint(2, 40),
        )

    return [" ".join(sentence() for _ in range(3)) for _ in range(count)]


def questions(count: int, seed: int = 8) -> list[str]:
    rng = random.Random(seed)
    return [
        f"What did {rng.choice(PEOPLE)} find at the {rng.choice(PARTS)} of the {rng.choice(SUBJECTS)} on {rng.choice(DAYS)}?"
        for _ in range(count)
    ]


def call(page: Page, method: str, **params):
    answer = page.evaluate(CALL, [method, params])
    return answer["result"], answer["ms"]


def resident(profile: str) -> float:
    """MB of anonymous memory of the renderers of the browser with that profile."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
            if "--type=renderer" in command and profile in command:
                total += int((process / "status").read_text().split("RssAnon:")[1].split()[0])
        except (OSError, IndexError):
            continue
    return total / 1024


def settled(page: Page, profile: str) -> float:
    """The same when the garbage of the start is gone."""
    page.wait_for_timeout(5000)
    return resident(profile)


class Counting(serve.Request):
    """A server that sums up what it sends, worker's requests included."""

    sizes: ClassVar[list[int]] = []  # of bodies; several threads append

    def reply(self, status, headers, content, body):
        Counting.sizes.append(len(content) if isinstance(content, bytes) else content.stat().st_size)
        super().reply(status, headers, content, body)


def start(context, site: str) -> tuple[float, float]:
    """Seconds to ready and MB of bodies that crossed the wire, of one visit."""
    page = context.new_page()
    Counting.sizes.clear()
    begun = time.perf_counter()
    page.goto(site)
    page.locator("#status[data-state=ready]").wait_for(state="attached", timeout=120_000)
    seconds = time.perf_counter() - begun
    page.close()
    return seconds, sum(Counting.sizes) / 1e6


def percentiles(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.1f} / {ordered[int(0.95 * (len(ordered) - 1))]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=1000)
    parser.add_argument("--asks", type=int, default=50)
    options = parser.parse_args()
    rows: dict[str, object] = {}
    serve.Request = Counting
    with serving() as site, sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=FLAGS, headless=True)
        seconds, megabytes = start(context, site)
        rows["cold start to ready, s"] = round(seconds, 2)
        rows["downloaded on the first visit, MB"] = round(megabytes, 2)
        warm = [start(context, site) for _ in range(3)]
        rows["warm start to ready, s"] = round(statistics.median(s for s, _ in warm), 2)
        rows["downloaded on a later visit, MB"] = round(warm[-1][1], 3)

        page = context.new_page()
        page.goto(site + "manifest.webmanifest")
        page.evaluate(BARE)
        bare = settled(page, profile)
        page.close()
        page = context.new_page()
        page.goto(site + "manifest.webmanifest")
        _, ms = call(page, "start", database=f"bench-{os.getpid()}")
        rows["worker start, everything cached, s"] = round(ms / 1000, 2)
        rows["memory of the renderer after start over bare Pyodide + numpy, MB"] = round(settled(page, profile) - bare, 1)
        rows["of it bare Pyodide + numpy, MB"] = round(bare, 1)

        texts = passages(options.passages)
        _, ms = call(
            page,
            "remember",
            items=[{"title": "Log", "text": "\n\n".join(f"# Note {i}\n\n{t}" for i, t in enumerate(texts)), "media_type": "text/markdown"}],
        )
        rows[f"{options.passages} notes embedded and committed, s"] = round(ms / 1000, 1)
        rows["passages"] = call(page, "stats")[0]["counts"]["passages"]
        asked = [call(page, "ask", text=text, session="bench") for text in questions(options.asks)]
        rows["ask, page to page, ms (p50 / p95)"] = percentiles([ms for _, ms in asked])
        for step in asked[0][0]["latency"]:
            rows[f"  {step} (p50 / p95)"] = percentiles([answer["latency"][step] for answer, _ in asked])
        rows["last durable commit, ms"] = round(call(page, "stats")[0]["durable_ms"], 1)
        call(page, "erase")
        context.close()
    report("page", rows)


if __name__ == "__main__":
    main()
