"""What the vector index costs, side by side with its peers: building, memory, and latency over recall.

    ./build.sh bench index                                    clustered, 20,000 x 768, ours on every host
    ./build.sh bench index --n 100000 --peers                 with native and WASM peers; takes most of an hour
    ./build.sh bench index --data text --n 50000              this machine's documentation, embedded by the project's own model
    ./build.sh bench index --growth                           10,000 to 200,000, in Chromium

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
    """The same recall at every size: is the time that it takes above what log n allows?"""
    times = {}
    for count in [count for count in GROWTH if count <= options.n]:
        folder = data.prepare(options.data, count, options.queries)
        for codec in options.codecs:
            found = run(options.hosts[-1], folder, {"M": 32, "ef_construction": 200, "efs": options.efs, "codec": codec, "kernels": True})
            for recall in (0.95, 0.99):
                times[f"{codec}, recall {recall}, {count}"] = p50 = chart.at_recall(found["points"], recall)
                first = times[f"{codec}, recall {recall}, {GROWTH[0]}"]
                told = f"{p50 / first:.2f} x, log n {math.log(count) / math.log(GROWTH[0]):.2f} x" if p50 and first else "not reached"
                print(f"{codec}, recall {recall}, {count:7}: p50 {p50} ms, {told}", flush=True)  # noqa: T201
    OUT.mkdir(exist_ok=True)
    (OUT / "index-growth.json").write_text(json.dumps({"machine": machine(), "host": options.hosts[-1], "p50, ms": times}, indent=1) + "\n")


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
