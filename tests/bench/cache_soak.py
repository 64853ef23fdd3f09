"""Endurance: many conversations with faults at random, and nothing lost at the end.

    ./build.sh bench cache-soak [--minutes 1] [--operations 20000]

First so many operations on pages beside a model of what must be there (a million: --operations 1000000). Then for so many minutes (30 is
the long one) conversations over a small model, under a budget that holds a few of them, while saving fails, the quota is full, and
readers leave: whatever is said must be what is said without any of that, near ties aside, and at the end no page, block or row is left.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from pyruvllm.cache import EXACT, SessionCaches
from pyruvllm.errors import CacheError, QuotaError
from pyruvllm.models.sampling import Sampling
from pyruvllm.models.scheduler import Scheduler
from pyruvllm.storage import migrate, open_driver
from tests.bench.report import report
from tests.contracts.cache_sessions import Failing
from tests.contracts.decoder_cache import prompt, shared
from tests.contracts.scheduler import BYTES
from tests.generators.cache_churn import Churn, random_steps

GREEDY = Sampling(temperature=0)
TIE = 5e-3  # of logits whose deviation is 1.6: what is read together is rounded otherwise than what is read one by one


class Faulty(Failing):
    """A database whose writes fail now and then."""

    def __init__(self, driver, random):
        super().__init__(driver)
        self.random, self.failed = random, 0

    def executemany(self, sql, rows):
        if self.random.random() < 0.05:
            self.failed += 1
            raise QuotaError("the quota of this origin is full") if self.random.random() < 0.5 else OSError("the disk is gone")
        return super().executemany(sql, rows)


def behind(runner, ids, said):
    """By how much at most a token that was said is less likely than what the model alone says there, in logits: 0 where it is the same."""
    runner.reset()
    logits, most = runner.feed(ids), 0.0
    for place, id in enumerate(said):
        most = max(most, float(logits.max() - logits[id]))
        if place < len(said) - 1:
            logits = runner.feed([id])
    return most


async def soak(kernels, minutes, folder):
    random, counts = np.random.default_rng(int(time.time())), Counter()
    driver = await open_driver(str(Path(folder) / "soak.db"))
    migrate(driver)
    faulty = Faulty(driver, random)
    runner, alone = shared(kernels, setting=EXACT, budget=400_000, vocabulary=257), shared(kernels, setting=EXACT, vocabulary=257)
    runner.cache.release(runner.sequence)
    caches = SessionCaches(runner.cache, faulty, limit=2 << 20)
    scheduler, texts, end = Scheduler(runner, BYTES, caches, together=4), {}, time.monotonic() + 60 * minutes
    pool, samples, apart = runner.cache.pool, [], [0.0]

    async def converse(id):
        ids = texts.get(id, [])
        ids = (ids if len(ids) < 180 else []) + prompt(int(random.integers(5, 40)), int(random.integers(1 << 30)))
        stream = scheduler.submit(ids, GREEDY, session=id, max_tokens=int(random.integers(1, 16)))
        leave = random.random() < 0.15
        try:
            async for _ in stream:
                samples.append(pool.used)
                if leave and random.random() < 0.3:
                    stream.cancel()
        except CacheError as error:
            counts[type(error).__name__] += 1
            return
        counts[stream.usage.finish] += 1
        if stream.usage.finish in ("length", "stop", "context"):
            less = behind(alone, ids, stream.ids)
            assert less < TIE, f"{id}: {less}"
            counts["near ties decided otherwise"] += less > 0
            apart.append(less)
            texts[id] = ids + stream.ids
        if random.random() < 0.05:
            caches.forget(id)

    while time.monotonic() < end:
        names = {f"s{number}" for number in random.zipf(1.3, 6) if number < 60}
        await asyncio.gather(*(converse(name) for name in names))
    await scheduler.close()
    assert max(samples) <= pool.peak <= pool.budget
    for number in range(60):
        caches.forget(f"s{number}")
    runner.cache.store.forget()
    left = pool.used, runner.cache.store.pages, pool.blocks, driver.query("SELECT count(*) FROM kv_pages")[0][0]
    assert left == (0, 0, 0, 0), left
    await driver.close()
    return {
        **counts,
        **{f"back from {tier}": hits for tier, hits in caches.hits.items()},
        "furthest of the near ties, logits": max(apart),
        "saves that failed": faulty.failed,
        **pool.counts,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--operations", type=int, default=20_000)
    options = parser.parse_args()
    from tests.bench.cache_quality import opened

    kernels = asyncio.run(opened())
    churn, begun = Churn(kernels), time.monotonic()
    random_steps(churn, options.operations, seed=int(time.time()), every=max(options.operations // 200, 1))
    churn.end()
    figures = {"operations on pages": options.operations, "of them a second": round(options.operations / (time.monotonic() - begun))}
    figures |= {f"operations: {name}": count for name, count in churn.count.items()}
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        figures |= {"minutes": options.minutes, **asyncio.run(soak(kernels, options.minutes, folder))}
    figures["leaks"] = 0
    report("cache_soak", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
