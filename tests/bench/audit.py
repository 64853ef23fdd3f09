"""What it costs to ask a long witness log, to prove it, to archive it and to open the archive again.

    ./build.sh bench audit [--entries 10000] [--host native|chromium]

Also what a batch of 100 entries costs until it is durable, chain included. Exits with 1 where that takes 30 ms or more (the median).
"""

import argparse
import sys

from tests.bench import hosts
from tests.bench.report import report

BOUND_MS = 30.0
BATCH = "100 entries durable, median ms"


async def measure(given):
    """Runs on either host, so it imports for itself."""
    import time

    import numpy as np

    from pyruvllm.config import Clock, Config, WritebackConfig
    from pyruvllm.embed.space import Space
    from pyruvllm.memory.kernels import accelerator, open_registry
    from pyruvllm.memory.unified import UnifiedMemory
    from pyruvllm.memory.witness import WitnessEntry, WitnessLog
    from pyruvllm.storage import delete_database, open_driver
    from pyruvllm.types import ErrorInfo, Latency, RoutingDecision

    class Embedder:
        space = Space("bench", "1")

    now, random, figures = time.perf_counter, np.random.default_rng(1), {}
    clock = Clock()
    start_ms = clock.now_ms()

    def entry(n):
        vectors = random.standard_normal((2, 768), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return WitnessEntry(
            *(clock.new_id(), f"session {n // 20}", f"what about {n % 97} and {n % 89} in {n}?"),
            RoutingDecision("350M", 2048, 0.7, 0.9, 0.5, (0.5, 0.3, 0.2), "policy"),
            f"model {n % 3}",
            Latency(*random.exponential(20, 6).tolist()),
            (f"passage {n}", f"passage {n + 1}"),
            *vectors,
            None if n % 2 else n % 10 / 10,
            start_ms - (given["entries"] - n) * 1000,
            ErrorInfo("QuotaError", "the disk is full") if n % 50 == 0 else None,
        )

    async def timed(name, ask, turns=1):
        took = []
        for _ in range(turns):
            begun = now()
            answer = ask()
            answer = await answer if hasattr(answer, "__await__") else answer
            took.append((now() - begun) * 1000)
        figures[f"{name}, ms"] = round(float(np.median(took)), 2)
        return answer

    name = given["name"]
    driver = await open_driver(name)
    registry = await open_registry(driver, clock)
    memory = await UnifiedMemory.open(driver, Embedder(), Config(), accelerator=accelerator(registry))
    log = WitnessLog(memory, WritebackConfig(wait_ms=60_000))
    durable = []
    for batch in range(given["entries"] // 100):
        for n in range(100):
            log.record(entry(100 * batch + n))
        begun = now()
        await log.flush()
        durable.append((now() - begun) * 1000)
    await memory.grown()
    figures["100 entries durable, median ms"] = round(float(np.median(durable)), 2)
    figures["100 entries durable, p95 ms"] = round(float(np.percentile(durable, 95)), 2)
    failed = log.list({"error.kind": {"$exists": True}}, 1)[0].request_id
    await timed("low quality", log.low_quality, 20)
    await timed("similar errors", lambda: log.similar_errors(failed, 20), 20)
    await timed("latency spikes", log.latency_spikes, 20)
    await timed("criteria and likeness", lambda: log.find(like=failed, model="model 1", quality_below=0.5, limit=20), 20)
    await timed("figures by hour", log.aggregate, 3)
    verdict = await timed("verified", log.verify)
    assert verdict.ok and verdict.entries == given["entries"], verdict
    parts = []
    made = await timed("archived", lambda: log.archive(parts.append))
    figures["archive, bytes an entry"] = round(sum(map(len, parts)) / made.entries)
    opened = await timed("archive opened", lambda: log.open_archive(b"".join(parts)))
    assert opened.entries == given["entries"]
    await opened.close()
    cleared = await timed("removed, with tombstones", lambda: log.clear(made.id))
    assert cleared.removed == given["entries"] and (await log.verify()).ok
    await memory.close()
    await delete_database(name)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--host", choices=("native", "chromium"), default="native")
    options = parser.parse_args()
    run = hosts.native if options.host == "native" else hosts.in_chromium
    figures = run(measure, {"entries": options.entries, "name": "bench-audit"})
    report("audit", {"host": options.host, "entries": options.entries, **figures})
    sys.exit(figures[BATCH] >= BOUND_MS)


if __name__ == "__main__":
    main()
