"""What the memory costs when it is full: patterns, witness entries, sessions and edges, written, searched, committed and opened again.

    ./build.sh bench memory [--patterns 100000] [--witness 100000] [--sessions 1000] [--edges 1000000] [--policies 1000]
                            [--host native|chromium]

One database holds all of it. Every query is asked 200 times, each time for something else. Exits with 1 where a bound of BOUNDS is
reached: policy retrieval (p99), a warm session recovered, an entry recorded, a commit of 100 entries; and where a session is not live.
A page's clock steps by 0.1 ms: what takes less shows in the mean there, and entries are recorded by ten between two looks at it.

A commit is timed from the last of 100 entries to the moment when all are durable: of entries that come one by one with a turn of the event
loop between two, which has the bound; of ones that come 3 ms apart; and from the first of ones that are recorded at once.
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

FILL_S = 60 * 60
BOUNDS = {  # milliseconds
    "policy: search, p99": 2.0,
    "session: recovered warm, p95": 0.1,
    "witness: ten recorded, p95": 0.5,
    "100 witness entries one by one, to durable, p50": 30.0,
}


async def measure(given):
    """Runs on either host, so it imports for itself. ``phase`` is "fill" or "open"."""
    import asyncio
    import time

    import numpy as np

    from pyruvllm import host
    from pyruvllm.config import Clock, Config, SessionConfig, WritebackConfig
    from pyruvllm.embed.space import Space
    from pyruvllm.memory.graph import Edge
    from pyruvllm.memory.kernels import accelerator, open_registry
    from pyruvllm.memory.patterns import PatternStore
    from pyruvllm.memory.policy import PolicyEntry, PolicyStore
    from pyruvllm.memory.session import SessionIndex
    from pyruvllm.memory.unified import UnifiedMemory
    from pyruvllm.memory.witness import WitnessEntry, WitnessLog
    from pyruvllm.storage import open_driver
    from pyruvllm.types import Draft, ErrorInfo, Latency, RoutingDecision

    class Embedder:
        space = Space("bench", "1")

    now = time.perf_counter
    generator = {}
    exec(given["generator"], generator)
    source, random = generator["Clustered"](), np.random.default_rng(1)
    words = "apple boat cloud door engine field garden harbour island journey kettle ladder market needle orchard paper".split()
    figures = {}

    def text(place):
        return " ".join(random.choice(words, 8)) + f" {place}"

    def asked(name, ask, turns=200):
        took = []
        for turn in range(turns):
            start = now()
            ask(turn)
            took.append((now() - start) * 1000)
        for share in (50, 95, 99):
            figures[f"{name}, p{share}"] = float(np.percentile(took, share))
        figures[f"{name}, mean"] = sum(took) / turns

    async def question(name, ask, turns):
        took = []
        for _ in range(turns):
            start = now()
            answer = ask()
            answer = await answer if hasattr(answer, "__await__") else answer
            took.append((now() - start) * 1000)
        figures[f"{name}, p50"] = float(np.median(took))
        return answer

    async def filled(name, total, step, write):
        start = now()
        for first in range(0, total, step):
            write(first, min(step, total - first))
            await log.flush()
            await memory.flush()
        figures[f"{name} written and durable, per s"] = total / (now() - start)

    start = now()
    driver = await open_driver(given["name"])
    registry = await open_registry(driver, Clock())
    config = Config(session=SessionConfig(idle_ms=86_400_000))  # filling takes longer than a session is left idle
    memory = await UnifiedMemory.open(driver, Embedder(), config, accelerator=accelerator(registry))
    policies, sessions, bank = PolicyStore(memory), SessionIndex(memory), PatternStore(memory)
    log = WitnessLog(memory, WritebackConfig(wait_ms=60_000))  # batches are of 100
    memory.search_with(None, source.draw(1)[0], 10, collections="patterns")
    figures["opened, to the first answer, s"] = now() - start

    def entry(place, vector, answer):
        steps = np.round(random.exponential(5, 5), 3)
        return WitnessEntry(
            f"w{place}",
            f"s{place % given['sessions']}",
            text(place),
            RoutingDecision("1.2B", 2048, 0.7, 0.9, 0.8, (0.1, 0.2, 0.6, 0.1), "policy"),
            "extractive",
            Latency(*steps.tolist(), float(steps.sum())),
            query_embedding=vector,
            response_embedding=answer,
            quality_score=float(random.random()),
            timestamp=1_760_000_000_000 + place * 6000,
            error=ErrorInfo("TimeoutError", f"gave up after {place} ms") if place % 50 == 0 else None,
        )

    if given["phase"] == "fill":

        def patterns(first, count):
            drafts = [Draft(text(first + i), f"p{first + i}", vector=v) for i, v in enumerate(source.draw(count))]
            with memory.transaction():  # what learning writes, without the search for one like it
                memory.put("patterns", drafts)
                memory.driver.executemany(
                    """INSERT INTO patterns (number, kind, quality, size, uses, learned_at, last_used, decayed_at)
                    SELECT number, 'answer', ?, 1, 0, created_at, created_at, created_at FROM records WHERE id = ?""",
                    [(float(random.random()), draft.id) for draft in drafts],
                )

        def talk(first, count):
            for place in range(first, first + count):
                sessions.open(f"s{place}", user_id=f"u{place % 100}")
                sessions.append(f"s{place}", "user", text(place), vector=source.draw(1)[0])

        def witnessed(first, count):
            vectors = source.draw(2 * count)
            for i in range(count):
                assert log.record(entry(first + i, vectors[2 * i], vectors[2 * i + 1]))

        def linked(first, count):
            ends = random.integers(0, given["patterns"], (count, 2))
            memory.graph.link_many(
                Edge(f"p{a}", f"p{b}", "same_topic", float(w)) for (a, b), w in zip(ends, random.random(count), strict=True)
            )

        def ruled(first, count):
            for i, vector in enumerate(source.draw(count)):
                policies.put(PolicyEntry("bench", {"number": first + i}, "background_loop", 0.5, vector))

        await filled("patterns", given["patterns"], 2000, patterns)
        await filled("sessions", given["sessions"], 200, talk)
        await filled("policies", given["policies"], 200, ruled)
        await filled("witness entries", given["witness"], 100, witnessed)
        await filled("edges", given["edges"], 20_000, linked)
        start = now()
        await memory.grown()
        figures["graphs of the index and edges of what is alike finished, s"] = now() - start
    else:
        queries = source.draw(200)
        since = 1_760_000_000_000 + (given["witness"] - 600) * 6000
        asked("pattern: search", lambda turn: memory.search_with(None, queries[turn], 10, collections="patterns", mode="vector"))
        asked(
            "everything: hybrid search",
            lambda turn: memory.search_with(text(turn), queries[turn], 10, collections=("patterns", "witness", "sessions")),
        )
        asked("policy: in force", lambda turn: policies.latest("router"))
        asked("policy: search for the first time", lambda turn: policies.search("bench", queries[turn], 3))
        asked("policy: search", lambda turn: policies.search("bench", queries[turn], 3))
        asked("session: recovered cold", lambda turn: sessions.get(f"s{turn}"))
        asked("session: recovered warm", lambda turn: sessions.get(f"s{turn}"))
        figures["session: live"] = sessions.count(live=True)
        assert figures["session: live"] == given["sessions"]
        await question("session: of a context like this", lambda: sessions.search(queries[0], 10), 20)
        asked("pattern: match", lambda turn: bank.match(queries[turn], 5))
        asked("pattern: match of a kind", lambda turn: bank.match(queries[turn], 5, kind="answer"))
        asked("pattern: reinforce", lambda turn: bank.reinforce(f"p{turn}", 0.9))
        asked("session: of a user", lambda turn: sessions.list(user_id=f"u{turn % 100}"))
        asked("witness: quality below 0.5, last hour", lambda turn: log.list({"quality": {"$lt": 0.5}, "timestamp": {"$gte": since}}, 50))
        asked("witness: of a session", lambda turn: log.list({"session": f"s{turn}"}, 50))
        asked("witness: errors of a kind", lambda turn: log.list({"error.kind": "TimeoutError"}, 50))
        asked("witness: similar", lambda turn: memory.search_with(None, queries[turn], 10, collections="witness", mode="vector"))
        failed = log.list({"error.kind": "TimeoutError"}, 1)[0].request_id
        for name, ask in (("low quality", log.low_quality), ("similar errors", lambda: log.similar_errors(failed, 20))):
            await question(f"witness: {name}", ask, 20)
        await question("witness: latency spikes", log.latency_spikes, 20)
        await question("witness: figures by hour", log.aggregate, 3)
        verdict = await question("witness: chain verified", log.verify, 1)
        assert verdict.ok and verdict.entries == given["witness"], verdict
        asked("graph: neighbours", lambda turn: memory.graph.neighbours(f"p{turn}"))
        start = now()
        memory.graph.forget_adjacency()
        figures["graph: arrays made, s"], edges = -start, memory.graph.adjacency
        figures["graph: arrays made, s"] += now()
        figures["graph: arrays, MB"] = edges.nbytes / 1e6
        ends = [(f"p{turn}", f"p{given['patterns'] - 1 - turn}") for turn in range(200)]
        asked("graph: two steps", lambda turn: memory.graph.traverse(ends[turn][0], depth=2, limit=100))
        asked("graph: three steps of weight 0.5", lambda turn: memory.graph.traverse(ends[turn][0], depth=3, least=0.5, limit=100))
        asked("graph: path of fewest edges", lambda turn: memory.graph.shortest_path(*ends[turn]), 50)
        asked("graph: path of heaviest edges", lambda turn: memory.graph.shortest_path(*ends[turn], by="weight"), 10)
        used = [[(e.source, e.relation, e.target) for e in memory.graph.edges(one, limit=8)] for one, _ in ends]
        asked("graph: 8 edges reinforced", lambda turn: memory.graph.reinforce_many(used[turn], True))
        late = [entry(10_000_000 + place, *source.draw(2)) for place in range(7000)]
        ways = (("100 witness entries one by one", 0), ("100 witness entries 3 ms apart", 0.003), ("100 witness entries at once", None))
        for first, (name, pause) in zip((0, 2000, 4000), ways, strict=True):
            took, durable, batches = [], [], log.queue.batches
            for turn in range(20):
                *most, last = late[first + 100 * turn : first + 100 * turn + 100]
                start = now()
                for one in most:
                    log.record(one)
                    if pause is not None:
                        await asyncio.sleep(pause)
                        start = now()
                log.record(last)
                await log.flush()
                took.append((now() - start) * 1000)
                durable.append(driver.durable_ms)
            assert log.queue.batches - batches == 20
            for what, times in ((f"{name}, to durable", took), (f"{name}, of it the flush", durable)):
                figures |= {f"{what}, p{share}": float(np.percentile(times, share)) for share in (50, 95)}
        start = now()
        await memory.grown()
        figures["graph: edges of 6,000 entries like others laid, s"] = now() - start
        lessons = source.draw(50)
        asked("pattern: learn", lambda turn: bank.learn(text(turn), lessons[turn], quality=0.6, learned_from=[f"w{turn}"]), 50)
        asked("witness: ten recorded", lambda turn: [log.record(one) for one in late[6000 + 10 * turn : 6010 + 10 * turn]], 100)
        figures["index in memory, MB"] = sum(sum(c.index.statistics().bytes.values()) for c in memory.collections()) / 1e6
        figures["database, MB"] = driver.size() / 1e6
        figures["process or worker, MB"] = (host.current().memory_bytes() or 0) / 1e6
    await log.close()
    await memory.close()
    return figures


def native(given: dict[str, Any]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        given = {**given, "name": str(Path(folder) / "memory.db")}
        filled, opened = (asyncio.run(measure({**given, "phase": phase})) for phase in ("fill", "open"))
    return filled | opened


def in_chromium(given: dict[str, Any]) -> dict[str, float]:
    given, figures = {**given, "name": "memory"}, {}
    with serving() as address, tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=FLAGS)
        try:
            for phase in ("fill", "open"):
                page = context.new_page()
                page.set_default_timeout(FILL_S * 1000)
                page.goto(f"{address}manifest.webmanifest")
                figures |= json.loads(page.evaluate(hosts.START, [hosts.source(measure), json.dumps({**given, "phase": phase})]))
                page.close()
        finally:
            context.close()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"patterns": 100_000, "witness": 100_000, "sessions": 1000, "edges": 1_000_000, "policies": 1000}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--host", choices=("native", "chromium"))
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in sizes}
    figures: dict[str, object] = {"of each": ", ".join(f"{name} {count}" for name, count in given.items()) + "; milliseconds"}
    slow = False
    for name, run in (("native", native), ("chromium", in_chromium)):
        if options.host in (None, name):
            found = run({**given, "generator": Path(clustered.__file__).read_text()})
            figures |= {f"{name}: {label}": round(value, 4) for label, value in found.items()}
            slow |= any(found[label] >= bound for label, bound in BOUNDS.items())
    report("memory", figures)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
