"""What a witness entry costs whoever records it, and how long a full batch takes to be durable.

    python -m tests.bench.writeback [--entries 2000] [--batches 20]

Natively, over a file. ``figures`` is what the same is measured with elsewhere: it takes any open memory. ``record`` is timed call
by call while batches are being written behind it, as in use, and alone.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np

from pyruvllm.config import Config, WritebackConfig
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.memory.witness import WitnessLog
from pyruvllm.storage import open_driver
from tests.bench.report import report
from tests.contracts.stores import WordEmbedder, entry


async def figures(memory: UnifiedMemory, entries: int, batches: int) -> dict[str, object]:
    """Writes about ``entries`` + 100 * ``batches`` witness entries into ``memory``."""
    prepared = iter([entry(number) for number in range(entries + 100 * batches)])
    rows = memory.count("witness")

    log = WitnessLog(memory, WritebackConfig(bound=10 * entries, wait_ms=20))
    beside = []  # microseconds
    for _ in range(entries):
        beside.append(timed(log, next(prepared)))
        await asyncio.sleep(0.0005)  # the worker goes on to something else; the queue's timer and writes have their turn
    await log.flush()
    written = log.queue.stats()
    assert (written["written"], written["dropped"]) == (entries, 0)
    await log.close()

    log = WitnessLog(memory, WritebackConfig(wait_ms=60_000))
    alone, durable = [], []
    for _ in range(batches):
        batch = [next(prepared) for _ in range(100)]
        alone += [timed(log, each) for each in batch[:99]]
        start = time.perf_counter()
        alone.append(timed(log, batch[99]))
        await log.flush()
        durable.append((time.perf_counter() - start) * 1000)
        assert len(log.queue) == 0
    await log.close()
    assert memory.count("witness") == rows + entries + 100 * batches
    return {
        "record() while batches are written, p50 us": percentile(beside, 50),
        "record() while batches are written, p99 us": percentile(beside, 99),
        "record() alone, p50 us": percentile(alone, 50),
        "record() alone, p99 us": percentile(alone, 99),
        "100 entries durable, median ms": percentile(durable, 50),
        "100 entries durable, 95th percentile ms": percentile(durable, 95),
        "entries in the log at the end": memory.count("witness"),
    }


def timed(log: WitnessLog, new) -> float:
    """Microseconds that the caller of ``record`` is held."""
    start = time.perf_counter()
    accepted = log.record(new)
    took = (time.perf_counter() - start) * 1e6
    assert accepted
    return took


def percentile(values: list[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 1)


async def native(entries: int, batches: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        memory = await UnifiedMemory.open(await open_driver(str(Path(folder) / "bench.db")), WordEmbedder(), Config())
        try:
            return await figures(memory, entries, batches)
        finally:
            await memory.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args()
    report("writeback", asyncio.run(native(options.entries, options.batches)))


if __name__ == "__main__":
    main()
