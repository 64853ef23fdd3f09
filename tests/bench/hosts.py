"""Runs one measuring function on each host: native Python, Pyodide in Node, Pyodide in Chromium.

The function is sent as source, so it imports for itself. It is a coroutine function that takes one dict of JSON and returns another.
"""

import asyncio
import inspect
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.e2e.browser import FLAGS, chromium, serving

Measure = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
LIMIT = 40 * 60  # seconds for everything on one host

# on the main thread of an empty page: nothing else runs there
START = """async ([source, given]) => {
  await import("./bridge.js");
  const { loadPyodide } = await import("./pyodide/pyodide.mjs");
  const python = await loadPyodide({ indexURL: new URL("./pyodide/", location.href).href });
  await python.loadPackage(["numpy", "pyruvllm"]);
  python.globals.set("given", given);
  return await python.runPythonAsync(source);
}"""


async def file_at(place):
    """A file as models are loaded from, on either host: read in slices, it is never in memory whole. To be sent along, see ``source``."""
    import sys

    if sys.platform != "emscripten":
        import numpy as np

        from pyruvllm.models.source import Bytes

        return Bytes(np.memmap(place, np.uint8, "r"))
    import js

    from pyruvllm import host

    return host.current().file(await (await js.fetch(place)).blob())


def source(measure: Measure, *parts: Callable[..., Any]) -> str:
    """parts: functions that it calls."""
    functions = "\n".join(map(inspect.getsource, (*parts, measure)))
    return f"import json\n{functions}\njson.dumps(await {measure.__name__}(json.loads(given)))\n"


def native(measure: Measure, given: dict[str, Any]) -> dict[str, Any]:
    return asyncio.run(measure(given))


def node(measure: Measure, given: dict[str, Any], flags: tuple[str, ...] = ()) -> dict[str, Any]:
    script = Path(__file__).with_name("node.mjs")
    ask = json.dumps([source(measure), json.dumps(given)])
    done = subprocess.run(["node", *flags, script], input=ask, capture_output=True, text=True, timeout=LIMIT, env={**os.environ})
    if done.returncode:
        raise RuntimeError(f"Node gave up:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_chromium(measure: Measure, given: dict[str, Any]) -> dict[str, Any]:
    with serving() as address, blank_page(address) as page:
        return json.loads(page.evaluate(START, [source(measure), json.dumps(given)]))


@contextmanager
def blank_page(address: str) -> Iterator[Page]:
    """A page of that site on which nothing of its own runs, in a browser with a fresh profile."""
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=FLAGS)
        try:
            page = context.new_page()
            page.set_default_timeout(LIMIT * 1000)
            page.goto(f"{address}manifest.webmanifest")  # a file of the site that starts nothing of its own
            yield page
        finally:
            context.close()


@contextmanager
def peak_of_renderers() -> Iterator[list[float]]:
    """[0] of what it gives: MB that the largest page of browsers which this process started held at most while the block ran.

    Looked at twenty times a second: the system's own peak will not do, which Chromium sets back now and then.
    """
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], *_renderers())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _renderers() -> list[float]:
    """MB of each, and 0."""
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            command = (folder / "cmdline").read_text()
        except OSError:
            continue  # it has just ended
        parents[int(folder.name)] = int(status["PPid"])
        if "--type=renderer" in command and "VmRSS" in status:
            sizes[int(folder.name)] = int(status["VmRSS"].split()[0]) / 1024

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and ours(parents[pid]))

    return [0.0, *(size for pid, size in sizes.items() if ours(pid))]
