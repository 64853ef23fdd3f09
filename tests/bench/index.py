"""What the vector index costs, side by side with its peers: building, memory, and latency over recall.

    ./build.sh bench index                                    clustered, 20,000 x 768, ours on every host
    ./build.sh bench index --n 100000 --peers                 with native and WASM peers; takes most of an hour
    ./build.sh bench index --data text --n 50000              this machine's documentation, embedded by the project's own model
    ./build.sh bench index --growth [--peers]                 10,000 to 200,000, and hnswlib beside it

Writes tests/bench/out/index-NAME.{json,md,svg}. M 32, ef_construction 200, k 10, one thread, queries one at a time after twenty that are
not counted. In Chromium the clock steps by 5 microseconds. Runs follow each other, never beside each other.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hnsw_pure.codec import CODECS
from tests.bench import hosts
from tests.bench.index_bench import chart, data, ours, peers
from tests.bench.report import OUT, machine
from tests.e2e.browser import DIST, HEADERS, serving

EFS = [10, 12, 16, 24, 32, 48, 64, 96, 128, 200, 400]
RELAXED = ("--experimental-wasm-relaxed-simd", "--no-liftoff")
GROWTH = (10_000, 20_000, 50_000, 100_000, 200_000)
FIXED = 64  # the ef of a growth over sizes


def run(host: str, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    if host == "native":
        return hosts.native(ours.measure, {**given, "data": str(folder)})
    isolated = patch.dict(HEADERS, {"Cross-Origin-Embedder-Policy": "require-corp"})  # such a page has the finer clock
    with isolated, serving(DIST, data.cache()) as address:
        given = {**given, "data": f"{address}{folder.name}"}
        if host == "node":
            return hosts.node(ours.measure, given, RELAXED)
        with hosts.blank_page(address) as page:
            return json.loads(page.evaluate(hosts.START, [hosts.source(ours.measure), json.dumps(given)]))


def measured(options: argparse.Namespace, folder: Path, count: int) -> list[chart.Run]:
    settings = {"M": 32, "ef_construction": 200, "efs": options.efs}
    runs = []

    def add(label: str, peer: bool, work) -> None:
        print(f"{label}, load average {os.getloadavg()[0]:.2f}", file=sys.stderr, flush=True)  # noqa: T201
        try:
            runs.append({"label": label, "peer": peer, **work()})
        except Exception as error:  # one that cannot be measured is said, and the others go on
            print(f"{label} could not be measured: {error}", file=sys.stderr)  # noqa: T201
            return
        print(json.dumps(runs[-1]), file=sys.stderr, flush=True)  # noqa: T201

    for host in options.hosts:
        for codec in options.codecs:
            given = {**settings, "codec": codec, "kernels": True}
            add(f"ours {codec}, {host}", False, lambda host=host, given=given: run(host, folder, given))
        if options.numpy:
            given = {**settings, "codec": "float32", "kernels": False}
            add(f"ours numpy, {host}", False, lambda host=host, given=given: run(host, folder, given))
    if options.peers:
        for library in peers.NATIVE:
            add(f"{library}, native", True, lambda library=library: peers.native(library, folder, settings))
        small = data.prepare(options.data, peers.ROUTER, options.queries)
        for host in [host for host in options.hosts if host != "native"]:
            add(f"hnswlib-wasm, {host}", True, lambda host=host: peers.wasm("hnswlib-wasm", host, folder, settings))
            add(
                f"ruvllm-wasm, {host}, only {peers.ROUTER}", True, lambda host=host: peers.wasm("ruvllm-wasm", host, small, settings)
            )  # fmt: skip
    return runs


def write(name: str, conditions: dict[str, Any], runs: list[chart.Run]) -> None:
    OUT.mkdir(exist_ok=True)
    (OUT / f"index-{name}.json").write_text(json.dumps({"machine": machine(), "conditions": conditions, "runs": runs}, indent=1) + "\n")
    (OUT / f"index-{name}.md").write_text(chart.table(runs))
    (OUT / f"index-{name}.svg").write_text(chart.svg(runs, f"{conditions['data']}, one thread"))
    print(chart.table(runs))  # noqa: T201


def growth(options: argparse.Namespace) -> None:
    """Does the time that a search takes grow faster than log n? At one ef, and at one recall."""
    settings = {"M": 32, "ef_construction": 200, "efs": sorted({*options.efs, FIXED})}
    rows, sizes = {}, [count for count in GROWTH if count <= options.n]
    for count in sizes:
        folder = data.prepare(options.data, count, options.queries)
        found = {
            f"ours {codec}, {options.hosts[-1]}": run(options.hosts[-1], folder, {**settings, "codec": codec, "kernels": True})
            for codec in options.codecs
        }
        if options.peers:
            found["hnswlib, native"] = peers.native("hnswlib", folder, settings)
        for label, each in found.items():
            recall, p50 = next(point[1:3] for point in each["points"] if point[0] == FIXED)
            times = {f"ef {FIXED}": p50, **{str(wanted): chart.at_recall(each["points"], wanted) for wanted in (0.95, 0.99)}}
            rows[label, count] = {"recall": recall, **times}
            first = rows[label, sizes[0]]
            told = ", ".join(f"{name} {_times(p50, first[name])}" for name, p50 in times.items())
            logs = math.log(count) / math.log(sizes[0])
            print(f"{label}, {count:7}: {told}; recall at ef {FIXED} {recall:.4f}; log n {logs:.2f} x", flush=True)  # noqa: T201
    OUT.mkdir(exist_ok=True)
    told = {f"{label}, {count}": row for (label, count), row in rows.items()}
    (OUT / "index-growth.json").write_text(json.dumps({"machine": machine(), "p50, ms": told}, indent=1) + "\n")


def _times(p50: float | None, first: float | None) -> str:
    if p50 is None:
        return "not reached"
    return f"{p50:.3f} ms" + (f" ({p50 / first:.2f} x)" if first else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int)
    parser.add_argument("--data", default="clustered", help="clustered, uniform, text, or a prefix of files")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--hosts", type=lambda text: text.split(","), default=["native", "node", "chromium"])
    parser.add_argument("--codecs", type=lambda text: text.split(","), default=list(CODECS))
    parser.add_argument("--efs", type=lambda text: [int(ef) for ef in text.split(",")], default=EFS)
    parser.add_argument("--peers", action="store_true", help="with hnswlib, faiss, usearch, hnswlib-wasm, ruvllm-wasm")
    parser.add_argument("--numpy", action="store_true", help="ours without kernels, too")
    parser.add_argument("--growth", action="store_true")
    options = parser.parse_args()
    options.n = options.n or (GROWTH[-1] if options.growth else 20_000)
    if options.growth:
        return growth(options)
    folder = data.prepare(options.data, options.n, options.queries)
    name = folder.name
    conditions = {"data": f"{name.rpartition('-')[0]}, {options.n:,} x {data.DIM}", "queries": options.queries, "load": os.getloadavg()}
    write(name, conditions, measured(options, folder, options.n))


if __name__ == "__main__":
    main()
