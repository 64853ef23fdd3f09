"""What the vector indexes cost: building, searching at several ef, deleting, saving.

    python -m tests.bench.index [--n 20000] [--data PREFIX] [--queries 300]

Vectors come from tests/generators/clustered.py, or with --data from PREFIX_base.f32 (n, 768), PREFIX_query.f32 and, if it is there and
all of the base is used, PREFIX_gt.i32 (queries, 100). Searches are timed one query at a time, after twenty that are not counted.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from hnsw_pure import HNSW, BruteForce, VectorIndex
from tests.bench.report import report
from tests.generators.clustered import Clustered, nearest, recall

DIM = 768


def load(prefix: str | None, count: int, queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Base (n, 768), queries (q, 768), and the ten nearest of each query (q, 10)."""
    if prefix is None:
        source = Clustered(DIM)
        base, asked = source.draw(count), source.draw(queries)
        return base, asked, nearest(base, asked, 10)
    everything = np.fromfile(f"{prefix}_base.f32", np.float32).reshape(-1, DIM)
    base = everything[:count]
    asked = np.fromfile(f"{prefix}_query.f32", np.float32).reshape(-1, DIM)[:queries]
    if len(base) == len(everything) and Path(f"{prefix}_gt.i32").exists():
        return base, asked, np.fromfile(f"{prefix}_gt.i32", np.int32).reshape(-1, 100)[: len(asked), :10]
    return base, asked, nearest(base, asked, 10)


def searched(index: VectorIndex, queries: np.ndarray, truth: np.ndarray, ef: int) -> str:
    found, times = [], []
    for query in np.concatenate((queries[:20], queries)):
        start = time.perf_counter()
        found.append(index.search(query, 10, ef=ef).ids[0])
        times.append(time.perf_counter() - start)
    p50, p95 = np.percentile(times[20:], (50, 95)) * 1000
    return f"recall@10 {recall(np.array(found[20:]), truth):.4f}, p50 {p50:.3f} ms, p95 {p95:.3f} ms"


def seconds(work) -> str:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return f"{time.perf_counter() - wall:.2f} s, {time.process_time() - cpu:.2f} CPU s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--data")
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    base, queries, truth = load(options.data, options.n, options.queries)
    ids = np.arange(len(base))
    blas = {name: os.environ[name] for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS") if name in os.environ}
    figures: dict[str, object] = {
        "data": f"{len(base)} x {DIM} {options.data or 'clustered'}, {len(queries)} queries, k 10",
        "numpy": np.__version__,
        "threads": str(blas or "as numpy likes"),
        "load average": f"{os.getloadavg()[0]:.2f} before",
    }
    brute, hnsw = BruteForce(DIM), HNSW(DIM)
    figures["brute build"] = seconds(lambda: brute.add(ids, base))
    figures["brute search"] = searched(brute, queries, truth, 10)
    figures["hnsw build"] = seconds(lambda: hnsw.add(ids, base))
    for ef in (10, 16, 32, 64, 128, 200):
        figures[f"hnsw search ef {ef}"] = searched(hnsw, queries, truth, ef)
    segments: dict[str, bytes] = {}
    figures["hnsw to segments"] = seconds(lambda: segments.update(hnsw.segments()))
    links = sum(len(segment) for name, segment in segments.items() if name.startswith(("links", "upper")))
    figures["hnsw segments"] = f"{sum(map(len, segments.values())) / 1e6:.1f} MB, links {links / 1e6:.1f} MB"
    figures["hnsw from segments"] = seconds(lambda: HNSW.from_segments(segments))
    hundred = ids[:: max(1, len(ids) // 100)][:100]
    figures["hnsw delete 100, one by one"] = seconds(lambda: [hnsw.delete([id]) for id in hundred])
    figures["hnsw add 100, one by one"] = seconds(lambda: [hnsw.add([id], base[id][None]) for id in hundred])
    report("index", figures)


if __name__ == "__main__":
    main()
