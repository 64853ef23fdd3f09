"""Many kills in the middle of writing, in Chromium and natively: nothing that was acknowledged may be lost.

    ./build.sh bench crash [--kills 100] [--host native|chromium]

In Chromium renderers are killed on the page of the store alone; natively it is a process that records witness entries.
"""

import argparse
import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from pyruvllm.embed.space import Space
from pyruvllm.memory.audit.chain import Verdict
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.memory.witness import WitnessLog
from pyruvllm.storage import open_driver
from tests.bench.report import report
from tests.e2e.browser import FLAGS, ROOT, chromium
from tests.e2e.killing import survive
from tests.e2e.storage_page import storage_site

WRITER = """
import asyncio, sys
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.memory.witness import WitnessEntry, WitnessLog
from pyruvllm.embed.space import Space
from pyruvllm.storage import open_driver
from pyruvllm.types import RoutingDecision

class Embedder:
    space = Space("bench", "1")

ROUTING = RoutingDecision("350M", 256, 0.7, 0.9, 1.0, (1.0, 0.0, 0.0, 0.0), "p")

async def main():
    memory = await UnifiedMemory.open(await open_driver(sys.argv[1]), Embedder())
    log, made = WitnessLog(memory), memory.count("witness")
    while True:
        ids = [f"{sys.argv[2]}-{made + place}" for place in range(20)]
        for id in ids:
            log.record(WitnessEntry(id, "session", "a question", ROUTING, "350M"))
        await log.flush()
        made += len(ids)
        print(*ids, flush=True)

asyncio.run(main())
"""


class Embedder:
    space = Space("bench", "1")


async def verified(name: str) -> Verdict:
    memory = await UnifiedMemory.open(await open_driver(name), Embedder())
    try:
        return await WitnessLog(memory).verify()
    finally:
        await memory.close()


def native(kills: int) -> int:
    """How many entries were acknowledged in all."""
    acknowledged: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        name = str(Path(folder) / "crash.db")
        for turn in range(kills):
            with subprocess.Popen([sys.executable, "-c", WRITER, name, str(turn)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout
                acknowledged |= set(process.stdout.readline().split())
                time.sleep(random.uniform(0, 0.3))
                process.send_signal(signal.SIGKILL)
                lines = process.stdout.read().split("\n")
                acknowledged |= {id for line in lines[:-1] for id in line.split()}  # the last line may be cut
            with sqlite3.connect(name) as database:
                there = {id for (id,) in database.execute("SELECT r.id FROM witness AS w JOIN records AS r ON r.number = w.number")}
                (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
            database.close()
            lost = acknowledged - there
            assert not lost and verdict == "ok", f"after kill {turn + 1}: {len(lost)} entries are lost, the file is {verdict}"
        chain = asyncio.run(verified(name))
        assert chain.ok and chain.entries == len(there), chain
    return len(acknowledged)


def in_chromium(kills: int) -> int:
    with storage_site() as address, tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=FLAGS, base_url=address)
        try:
            return survive(context, Path(profile), kills)
        finally:
            context.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--host", choices=("native", "chromium"))
    options = parser.parse_args()
    figures: dict[str, object] = {"kills": options.kills}
    for name, run, what in (("native", native, "entries"), ("chromium", in_chromium, "batches")):
        if options.host in (None, name):
            figures[f"{name}: {what} acknowledged, none lost"] = run(options.kills)
    report("crash", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
