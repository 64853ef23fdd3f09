"""Renderers killed in the middle of writing: what was acknowledged is there, and the file is in order."""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.storage_page import storage_site

KILLS = 20


@pytest.fixture(scope="module")
def site():
    with storage_site() as address:
        yield address


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


def test_no_acknowledged_batch_is_lost_in_twenty_kills(new_context, console, tmp_path):
    console.allow("crashed")
    profile = tmp_path / "profile"
    context = new_context(str(profile))
    reported = 0
    for _ in range(KILLS):
        page = context.new_page()
        saved = []
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
    assert reported > 10 * KILLS
