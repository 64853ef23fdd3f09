"""How fast a model of true shape reads a prompt and generates, natively and in Chromium, one thread.

    ./build.sh bench decode [--size 350M] [--kinds q4_0,q4_k,q6_k,q8_0] [--prompt 128] [--tokens 64] [--host native|chromium]
                            [--peers [wllama,llama.cpp]]

The weights are random: the time does not depend on them. Medians of three runs; the first answer to a file includes reading it, repacking
its weights, and the self-tests of the kernels. With --peers the same files are measured in wllama on a page of the same browser, and in
llama.cpp natively, or in the one that is named, each after ours and never beside it.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import hosts
from tests.bench.decode_bench import peers
from tests.bench.hosts import file_at
from tests.bench.kernels import probe
from tests.bench.report import report
from tests.e2e.browser import DIST, serving
from tests.generators.decoders import FIRST_BYTE, LFM2, lfm2_of_true_shape


async def measure(given):
    """Runs on either host, so it imports for itself."""
    import base64
    import time

    import numpy as np

    from pyruvllm.config import Clock
    from pyruvllm.memory.kernels import open_registry
    from pyruvllm.models.decoder import Runner
    from pyruvllm.models.parts import Parts
    from pyruvllm.models.sampling import Sampler, Sampling
    from pyruvllm.models.shape import Shape
    from pyruvllm.models.source import head_of
    from pyruvllm.storage import open_driver

    file = await file_at(given["file"])
    driver = await open_driver(":memory:")
    registry = await open_registry(driver, Clock())
    assert registry is not None
    begun = time.perf_counter()
    head = await head_of(file)
    shape = Shape.of(head.metadata)
    parts = await Parts.load(head, shape, file, registry)
    loaded = time.perf_counter()
    runner = Runner(shape, parts, registry, given["context"])
    recorded = time.perf_counter()
    ids = np.random.default_rng(0).integers(0, 60000, given["prompt"]).tolist()
    figures = {"prefill": [], "decode": []}

    async def pace():
        pass

    for _ in range(3):
        runner.reset()
        start = time.perf_counter()
        logits = runner.feed(ids)
        figures["prefill"].append(given["prompt"] / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(given["tokens"]):
            logits = runner.feed([int(logits.argmax())])
        figures["decode"].append(given["tokens"] / (time.perf_counter() - start))
    told = {f"{name}, tokens/s": float(np.median(values)) for name, values in figures.items()}
    if given["depth"]:
        runner.feed((ids * (given["depth"] // len(ids) + 1))[: given["depth"] - given["tokens"]])
        near = runner.begin(ids)
        await runner.read(ids, pace, sequence=near)
        spent = {"deep": [], "near": []}
        for turn in range(2 * given["tokens"]):  # in turn, so that both see the machine alike
            sequence = (runner.sequence, near)[turn % 2]
            start = time.perf_counter()
            logits = await runner.read([int(logits.reshape(-1).argmax())], pace, sequence=sequence)
            spent[("deep", "near")[turn % 2]].append(time.perf_counter() - start)
        deep, shallow = (float(np.median(each)) for each in spent.values())
        told[f"speed that {given['depth']} tokens before cost, %"] = 100 * (1 - shallow / deep)
        told[f"decode at depth {given['depth']}, tokens/s"] = 1 / deep
        runner.cache.release(near)
    runner.reset()
    runner.feed(ids)
    times = {count: [] for count in (1, 2, 3, 4, 5, 7, 9)}

    for turn in range(8):
        for count, each in times.items():
            start = time.perf_counter()
            await runner.read(ids[:count], pace, every=True)
            if turn:
                each.append(time.perf_counter() - start)
            runner.rewind(given["prompt"])
    told |= {f"{count} guesses checked, tokens": float(np.median(times[1 + count]) / np.median(times[1])) for count in (1, 2, 3, 4, 6, 8)}

    sampler = Sampler(Sampling(temperature=0.7, seed=1), registry)
    recording, steps, replays = runner._recording(1, runner.sequence), [], []

    def timed(replay):
        def replay_timed(*part):
            start = time.perf_counter()
            replay(*part)
            replays[-1] += time.perf_counter() - start

        return replay_timed

    for buffer in (recording._buffer, recording._head):
        buffer.replay = timed(buffer.replay)
    for _ in range(100):
        replays.append(0.0)
        start = time.perf_counter()
        logits = await runner.read([sampler.choose(logits.reshape(-1))], pace)
        steps.append(time.perf_counter() - start)
    told["Python's part of a token, %"] = 100 * float(np.median(1 - np.array(replays) / np.array(steps)))
    read = registry.memory.load(base64.b64decode(given["probe"]), "probe")("read")
    struct, big = registry.empty(4, np.uint32), max(parts.matrices.values(), key=lambda each: each.nbytes).w
    struct[:] = [registry.memory.address(big), big.nbytes, 1, 0]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        read(registry.memory.address(struct))
        times.append(time.perf_counter() - start)
    rate = big.nbytes / min(times)
    told |= {"memory read, GB/s": rate / 1e9, "weights read, % of that": 100 * parts.nbytes / float(np.median(replays)) / rate}
    told |= {"loaded, s": loaded - begun, "recorded, s": recorded - loaded, "weights, MB": parts.nbytes / 1e6}
    await driver.close()
    return told


BANNED = [2, 7, *range(FIRST_BYTE + 128, FIRST_BYTE + 256)]  # ends, and bytes beyond ASCII


def run(host: str, path: Path, given: dict[str, Any]) -> dict[str, Any]:
    if host == "native":
        return asyncio.run(measure({**given, "file": str(path)}))
    with serving(DIST, path.parent) as address, hosts.blank_page(address) as page:
        ask = [hosts.source(measure, file_at), json.dumps({**given, "file": path.name})]
        with hosts.peak_of_renderers() as peak:
            told = json.loads(page.evaluate(hosts.START, ask))
        return {**told, "peak memory, MB": peak[0]}


def beside(peer: str, path: Path, given: dict[str, Any]) -> dict[str, float]:
    """Medians of a peer; nothing where it cannot be measured, which is said."""
    try:
        told = peers.measured(peer, path, given)
    except Exception as error:
        print(f"{peer} could not be measured: {error}", file=sys.stderr)  # noqa: T201
        return {}
    for name in ("prefill", "decode"):
        told[f"{name}, tokens/s"] = statistics.median(told.pop(name))
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=LFM2, default="350M")
    parser.add_argument("--kinds", default="q4_0,q4_k,q6_k,q8_0")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2000)
    parser.add_argument("--host", choices=("native", "chromium"))
    parser.add_argument("--peers", nargs="?", const=",".join(peers.PEERS), default="", help="wllama in Chromium, llama.cpp natively")
    options = parser.parse_args()
    chosen = options.peers.split(",") if options.peers else []
    if unknown := set(chosen) - set(peers.PEERS):
        parser.error(f"--peers is {', '.join(sorted(unknown))}; {', '.join(peers.PEERS)} would be right")
    sizes = {"prompt": options.prompt, "tokens": options.tokens, "context": options.prompt + options.tokens + options.depth + 64}
    given, told = {**sizes, "depth": options.depth, "probe": probe()}, {**sizes, "banned": BANNED, "runs": 3}
    figures: dict[str, object] = {"model": f"LFM2-{options.size}, prompt {options.prompt}, {options.tokens} tokens, one thread"}
    found: dict[tuple[str, str], dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as folder:
        for kind in options.kinds.split(","):
            path = Path(folder) / "model.gguf"
            with path.open("wb") as file:
                lfm2_of_true_shape(options.size, kind, file.write)
            for host in [host for host in ("native", "chromium") if options.host in (None, host)]:
                found[kind, host] = run(host, path, given)
            for peer in chosen:
                found[kind, peer] = beside(peer, path, told)
            for host in [host for host in (*chosen, "native", "chromium") if found.get((kind, host))]:
                figures |= {f"{kind}, {host}: {name}": round(value, 2) for name, value in found[kind, host].items()}
                print(kind, host, found[kind, host], file=sys.stderr, flush=True)  # noqa: T201
    for name in ("decode, tokens/s", "prefill, tokens/s"):
        for peer in chosen:
            best = max((each.get(name, 0.0) for (_, who), each in found.items() if who == peer), default=0.0)
            if best:
                ratios = {kind: round(each[name] / best, 2) for (kind, who), each in found.items() if who == "chromium"}
                figures |= {f"{kind}, chromium against the best of {peer}: {name}, x": ratio for kind, ratio in ratios.items()}
    report("decode", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
