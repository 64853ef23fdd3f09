"""A thousand conversations on one small device: their keys and values under one budget that is never exceeded.

    ./build.sh bench cache [--sessions 1000] [--tokens 256] [--budget 512] [--returns 2000] [--spoken 24] [--cold MB]
        [--host native|chromium]
    ./build.sh bench cache --together [--rounds 6] [--kind q4_0] [--host native|chromium]

Conversations of the shape of LFM2-350M come back by Zipf's law, each time for eight tokens more. First with keys and values that are
random numbers, since the time does not depend on them: hits by tier, how long it takes to come back, how long an allocation takes. Then
(--spoken 0 leaves it out) with the model at work: conversations together beside one after the other (--together: that alone), in turn, the
median of their ratios; tokens a second under a budget and without a bound; resuming a cold conversation of 1,000 tokens beside computing
it anew; and what turning to another adapter costs.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyruvllm.config import COLD
from tests.bench import hosts
from tests.bench.hosts import file_at
from tests.bench.report import report
from tests.e2e.browser import DIST, serving
from tests.generators.decoders import lfm2_of_true_shape


async def measure(given):
    """Runs on either host, so it imports for itself."""
    import time

    import numpy as np

    from pyruvllm import host
    from pyruvllm.cache import PAGE, Form, KvCache, Pool, SessionCaches
    from pyruvllm.cache.region import UNIT
    from pyruvllm.config import Clock
    from pyruvllm.errors import PoolFullError
    from pyruvllm.memory.kernels import open_registry
    from pyruvllm.storage import migrate, open_driver

    driver = await open_driver(given["database"])
    migrate(driver)
    kernels = await open_registry(driver, Clock())
    attention = (2, 5, 8, 10, 12, 14)
    form = Form(tuple(8 if layer in attention else 0 for layer in range(16)), 64, (10, 2, 1024))
    budget = given["budget"] << 20
    before = host.current().memory_bytes() or 0
    pool = Pool(budget, kernels.empty)
    cache = KvCache(form, pool, kernels)
    caches = SessionCaches(cache, driver, limit=given["cold"])
    random = np.random.default_rng(1)
    k, v = (kernels.empty((32, 8, 64), np.float32) for _ in range(2))
    k[...], v[...] = random.standard_normal((2, 32, 8, 64))
    taken, evicting, peaks = [], [], []
    pool.trimmed = True

    def timed(*arguments, take=pool.take, **options):
        start, gone = time.perf_counter(), pool.counts["evicted"] + pool.counts["shrunk"]
        try:
            return take(*arguments, **options)
        finally:
            into = taken if gone == pool.counts["evicted"] + pool.counts["shrunk"] else evicting
            into.append(time.perf_counter() - start)

    pool.take = timed

    def say(sequence, count):
        for start in range(0, count, 32):
            some = min(32, count - start)
            cache.reserve(sequence, some)
            table = cache.store._table(sequence.tail)
            for layer in attention:
                keys_at, values_at = cache.plain.places[layer]
                place = {
                    "pool": pool.array,
                    "table": table,
                    "count": len(pool.array),
                    "stride": UNIT,
                    "keys_at": keys_at,
                    "values_at": values_at,
                }
                place |= {"kv_heads": 8, "dim": 64, "page": PAGE, "pages": len(table), "position": len(sequence) - sequence.old_tokens}
                kernels.run("kv_write_f16", k=k, v=v, tokens=some, **place)
            cache.advance(sequence, random.integers(0, 60000, some).tolist())
            peaks.append(pool.used)
            pool.trim()

    refused, begun = 0, time.perf_counter()
    for number in range(given["sessions"]):
        sequence = caches.open(f"s{number}").sequence
        say(sequence, given["tokens"])
        pool.unpin(sequence.holding)
    filled, taken[:], evicting[:] = time.perf_counter() - begun, [], []
    caches.hits = dict.fromkeys(caches.hits, 0)
    weights = 1 / np.arange(1, given["sessions"] + 1)
    order = random.permutation(given["sessions"])
    ms = {"hot": [], "warm": [], "cold": [], "gone": []}
    live, begun = [], time.perf_counter()
    for number in random.choice(order, given["returns"], p=weights / weights.sum()):
        start = time.perf_counter()
        found = caches.find(f"s{number}")
        if found is not None:
            live.append(time.perf_counter() - start)
        try:
            start = time.perf_counter()
            resumed = caches.open(f"s{number}")
            ms[resumed.tier].append(1000 * (time.perf_counter() - start))
            say(resumed.sequence, 8 if len(resumed.sequence) else given["tokens"])
            pool.unpin(resumed.sequence.holding)
        except PoolFullError:
            refused += 1
    spent = time.perf_counter() - begun
    told = {"filled, s": filled, "returns a second": given["returns"] / spent, "refused": refused}
    for tier, times in ms.items():
        told[f"{tier}: hits, %"] = 100 * len(times) / given["returns"]
        if times:
            told[f"{tier}: back, ms p50"], told[f"{tier}: back, ms p99"] = np.percentile(times, [50, 99]).tolist()
    told["look-up of a live one, us p99"] = 1e6 * float(np.percentile(live, 99)) if live else 0.0
    told["allocation, us p50"], told["allocation, us p99"] = (1e6 * np.percentile(taken, [50, 99])).tolist()
    told["allocations that had to evict, %"] = 100 * len(evicting) / (len(taken) + len(evicting))
    told |= {"peak, MB": pool.peak / 2**20, "highest sample, MB": max(peaks) / 2**20, "budget, MB": given["budget"]}
    told |= {"peak, % of the budget": 100 * pool.peak / budget, "memory held by the process beyond before, MB": 0}
    told["memory held by the process beyond before, MB"] = ((host.current().memory_bytes() or 0) - before) / 2**20
    told |= {f"times {name}": count for name, count in pool.counts.items()}
    told |= {"fragmentation": pool.region.fragmentation, "lost to rounding, %": 100 * pool.wasted / max(pool.used, 1)}
    await driver.close()
    return told


async def model_at(file, database):
    """(driver, kernels, shape, weights) of a model's file, on either host."""
    from pyruvllm.config import Clock
    from pyruvllm.memory.kernels import open_registry
    from pyruvllm.models.parts import Parts
    from pyruvllm.models.shape import Shape
    from pyruvllm.models.source import head_of
    from pyruvllm.storage import migrate, open_driver

    data = await file_at(file)
    driver = await open_driver(database)
    migrate(driver)
    kernels = await open_registry(driver, Clock())
    head = await head_of(data)
    shape = Shape.of(head.metadata)
    return driver, kernels, shape, await Parts.load(head, shape, data, kernels)


async def speaking(given):
    """With the model at work. Runs on either host."""
    import time

    import numpy as np

    from pyruvllm.cache import KvCache, Pool, SessionCaches
    from pyruvllm.models.adapter import Lora
    from pyruvllm.models.decoder import Runner, form_of

    budget, count = 5, given["spoken"]  # MB
    driver, kernels, shape, parts = await model_at(given["file"], given["database"])
    random, told = np.random.default_rng(2), {}

    def over(size):
        cache = KvCache(form_of(shape), Pool(size << 20, kernels.empty), kernels)
        return Runner(shape, parts, kernels, 2048, cache=cache), SessionCaches(cache, driver)

    prompts = [random.integers(0, 60000, 64).tolist() for _ in range(8)]
    turns = random.choice(8, count, p=(w := 1 / np.arange(1, 9)) / w.sum())
    for name, size in (("under a budget", budget), ("without a bound", 256)):
        runner, caches = over(size)
        for number, ids in enumerate(prompts):
            runner.use(caches.open(f"{name} {number}").sequence)
            runner.feed(ids)
            runner.cache.pool.unpin(runner.sequence.holding)
        start = time.perf_counter()
        for number in turns:
            runner.use(caches.open(f"{name} {number}").sequence)
            for _ in range(8):
                runner.feed([7])
            runner.cache.pool.unpin(runner.sequence.holding)
        told[f"spoken {name}, tokens/s"] = 8 * count / (time.perf_counter() - start)
        told[f"spoken {name}: from cold, %"] = 100 * caches.hits["cold"] / count
    told["spoken under a budget, of the unbounded, %"] = (
        100 * told["spoken under a budget, tokens/s"] / told["spoken without a bound, tokens/s"]
    )

    ids = random.integers(0, 60000, 1000).tolist()
    runner.use(caches.open("long").sequence)
    start = time.perf_counter()
    runner.feed(ids)
    told["1,000 tokens computed, ms"] = 1000 * (time.perf_counter() - start)
    caches.freeze("long")
    resumed = caches.open("long")
    told["1,000 tokens from cold, ms"] = resumed.ms
    told["from cold, times as fast"] = told["1,000 tokens computed, ms"] / resumed.ms

    for name in ("one", "other"):
        sides = {
            part: (random.standard_normal((8, w.cols), np.float32), np.zeros((w.rows, 8), np.float32))
            for part, w in parts.matrices.items()
            if part.startswith("blk.")
        }
        runner.adapters.load(name, Lora(8.0, sides))
        runner.prepare(name)
    spoken = {name: runner.begin(adapter=name) for name in ("one", "other")}
    same, turned = [], []
    for _ in range(8):
        for times, names in ((same, ("one", "one")), (turned, ("one", "other"))):
            for name in names:
                start = time.perf_counter()
                runner.use(spoken[name])
                runner.feed([7])
                times.append(time.perf_counter() - start)
    told["turning to another adapter, ms"] = 1000 * float(np.median(turned) - np.median(same))
    await driver.close()
    return told


async def together(given):
    """Some conversations together beside one after the other. Runs on either host."""
    import time

    import numpy as np

    from pyruvllm.cache import KvCache, Pool
    from pyruvllm.models.batch import Batch
    from pyruvllm.models.decoder import Runner, form_of

    driver, kernels, shape, parts = await model_at(given["file"], ":memory:")
    cache = KvCache(form_of(shape), Pool(64 << 20, kernels.empty), kernels)
    runner, told = Runner(shape, parts, kernels, 512, cache=cache), {}
    for count in given["counts"]:
        batch, sequences = Batch(runner, count, runner.sequence.layout, False), [runner.begin() for _ in range(count)]
        for number, sequence in enumerate(sequences):
            runner.use(sequence)
            runner.feed([number + 1] * 40)
        alone, joined = [], []
        for _ in range(given["rounds"]):
            start = time.perf_counter()
            for sequence in sequences:
                runner.use(sequence)
                for _ in range(3):
                    runner.feed([7])
            alone.append((time.perf_counter() - start) / (3 * count))
            start = time.perf_counter()
            for _ in range(3):
                batch.step(sequences, [7] * count)
            joined.append((time.perf_counter() - start) / (3 * count))
        told[f"{count} one after another, tokens/s"], told[f"{count} together, tokens/s"] = 1 / np.median(alone), 1 / np.median(joined)
        told[f"{count} together, times as fast"] = float(np.median(np.divide(alone, joined)))
    await driver.close()
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("sessions", 1000), ("tokens", 256), ("budget", 512), ("returns", 2000), ("spoken", 24)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--cold", type=int, help="MB of conversations in the database; the host's default without")
    parser.add_argument("--kind", default="q4_0")
    parser.add_argument("--rounds", type=int, default=6, help="of conversations together beside one after the other")
    parser.add_argument("--together", action="store_true", help="that alone")
    parser.add_argument("--host", choices=("native", "chromium"), default="native")
    options = parser.parse_args()
    if options.together:
        options.sessions = 0
    given = {name: getattr(options, name) for name in ("sessions", "tokens", "budget", "returns")}
    given["cold"] = COLD["native" if options.host == "native" else "browser"] if options.cold is None else options.cold << 20
    figures: dict[str, object] = {
        "conversations": f"{options.sessions} of {options.tokens} tokens, LFM2-350M {options.kind}, {options.host}",
        "of these in the database at most, MB": given["cold"] >> 20,
    }
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        path = Path(folder) / "model.gguf"
        if options.spoken or options.together:
            with path.open("wb") as file:
                lfm2_of_true_shape("350M", options.kind, file.write)
        where = Path(folder) if options.host == "native" else Path()
        given |= {"database": str(where / "memory.db"), "file": str(where / path.name), "spoken": options.spoken}
        asked: list[tuple[hosts.Measure, list[Callable[..., Any]], dict[str, Any]]] = []
        if options.sessions:
            asked.append((measure, [], given))
        if path.exists():
            asked.append((together, [file_at, model_at], {**given, "counts": [2, 4, 8], "rounds": options.rounds}))
        if options.spoken and not options.together:
            asked.append((speaking, [file_at, model_at], {**given, "database": str(where / "spoken.db")}))
        told = {}
        if options.host == "chromium":
            with serving(DIST, Path(folder)) as address:
                for what, parts, values in asked:
                    with hosts.blank_page(address) as page:
                        told |= json.loads(page.evaluate(hosts.START, [hosts.source(what, *parts), json.dumps(values)]))
        else:
            for what, _, values in asked:
                told |= hosts.native(what, values)
        figures |= {name: round(value, 3) for name, value in told.items()}
    report("cache", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
