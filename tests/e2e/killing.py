"""Renderers killed in the middle of writing, again and again, on the page of ``storage_page``."""

import os
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import BrowserContext, Error, Page


def processes() -> dict[int, tuple[int, list[str]]]:
    """Every process: its parent and its command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"^PPid:\s+(\d+)", (folder / "status").read_text(), re.M)[1])
            arguments = re.split(r"[\0 ]", (folder / "cmdline").read_text())
        except OSError:
            continue  # it has just ended
        found[int(folder.name)] = parent, arguments
    return found


def kill_renderers(profile: Path) -> set[int]:
    """SIGKILL to every renderer of the browser with this profile; returns which they were."""
    everything = processes()
    ours = {pid for pid, (_, arguments) in everything.items() if f"--user-data-dir={profile}" in arguments}
    killed = set()
    for pid, (ancestor, arguments) in everything.items():
        if "--type=renderer" not in arguments:
            continue
        while ancestor in everything and ancestor not in ours:
            ancestor = everything[ancestor][0]
        if ancestor in ours:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    return killed


def wait_until_buried(killed: set[int]) -> None:
    """Until the browser knows of their deaths: it keeps a renderer in spare, and a new page that is given a dead one never comes."""
    deadline = time.monotonic() + 30
    while left := [pid for pid in killed if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, f"the browser does not notice that its renderers {left} are dead"
        time.sleep(0.02)


def crash(page: Page) -> None:
    """The renderer of one page dies, as when the system ends it."""
    with page.expect_event("crash"):
        with suppress(Error):
            page.goto("chrome://crash", timeout=2000)
    page.close()


def survive(context: BrowserContext, profile: Path, kills: int) -> int:
    """Opens, checks, writes and is killed so often; returns how many batches were acknowledged, of which none may be missing."""
    reported = 0
    for _ in range(kills):
        page = context.new_page()
        saved: list[int] = []
        page.on("console", lambda message, saved=saved: saved.append(int(message.text.removeprefix("saved "))))
        page.goto("storage.html")
        page.wait_for_load_state("load")
        assert page.evaluate("storage.open('crash')") == {"writable": True}
        found = page.evaluate("storage.inspect('crash')")
        assert found["last"] >= reported, "an acknowledged batch is lost"
        assert found["batches"] == found["last"]
        assert (found["wrong"], found["integrity"]) == (0, "ok")
        page.evaluate("void storage.write('crash')")
        page.wait_for_timeout(random.uniform(50, 700))
        with page.expect_event("crash"):
            killed = kill_renderers(profile)
            assert killed
        wait_until_buried(killed)
        assert saved, "it was killed before it had written anything"
        reported = saved[-1]
        page.close()
    return reported
