"""What hnsw_pure costs on any host: the same function natively and inside Pyodide."""


async def measure(given):
    """Runs on every host, so it imports for itself.

    given: url of the data's folder, or its path; codec; M; ef_construction; efs; kernels: whether to use them.
    Returns seconds of the build, bytes of the index, and for each ef [ef, recall@10, p50 ms, p95 ms]; see README of the docs.
    """
    import json
    import sys
    import time
    from pathlib import Path

    import numpy as np

    from hnsw_pure import HNSW

    async def read(name):
        if sys.platform != "emscripten":
            return Path(given["data"], name).read_bytes()
        from js import fetch

        answer = await fetch(f"{given['data']}/{name}")
        assert answer.ok, f"{name}: {answer.status}"
        return (await answer.arrayBuffer()).to_bytes()

    accelerator, engine = None, "numpy"
    if given["kernels"]:
        from pyruvllm.kernels import manifest, memory
        from pyruvllm.kernels.accelerate import HnswKernels
        from pyruvllm.kernels.library import Library
        from pyruvllm.kernels.pack import bundled

        files = bundled()
        library = Library(manifest.read(files[manifest.FILE]), files, memory.current())
        accelerator = HnswKernels(library.memory, lambda operation: library.kernel(operation, library.names(operation)[0]))
        engine = library.names("hnsw_search")[0].rpartition(".")[2]
    shape = json.loads(await read("shape.json"))
    count, dim = shape["count"], shape["dim"]
    queries = np.frombuffer(await read("queries.f32"), np.float32).reshape(-1, dim)
    truth = np.frombuffer(await read("truth.i32"), np.int32).reshape(-1, 10)
    halves = np.empty((count, dim), np.float16) if given["codec"] == "bit1" else None  # stand for the rows of a database
    settings = {} if given["codec"] == "float32" else {"codec": given["codec"]}
    if halves is not None:
        settings["originals"] = lambda ids: halves[ids]
    index = HNSW(dim, given["M"], given["ef_construction"], seed=1, accelerator=accelerator, **settings)
    wall = cpu = 0.0
    for number, start in enumerate(range(0, count, 4096)):
        rows = np.frombuffer(await read(f"base.{number}.f32"), np.float32).reshape(-1, dim)
        if halves is not None:
            halves[start : start + len(rows)] = rows
        begun, spent = time.perf_counter(), time.process_time()
        index.add(np.arange(start, start + len(rows)), rows)
        wall, cpu = wall + time.perf_counter() - begun, cpu + time.process_time() - spent
    index.compact()
    points = []
    for ef in given["efs"]:
        found, times = [], []
        for query in queries[:20]:
            index.search(query, 10, ef=ef)
        for query in queries:
            begun = time.perf_counter()
            hits = index.search(query, 10, ef=ef)
            times.append(time.perf_counter() - begun)
            found.append(hits.ids[0])
        hit = np.mean([len(set(row) & set(best)) for row, best in zip(np.array(found).tolist(), truth.tolist(), strict=True)]) / 10
        p50, p95 = np.percentile(times, (50, 95)) * 1000
        points.append([ef, round(float(hit), 4), round(float(p50), 4), round(float(p95), 4)])
    told = index.statistics()
    return {
        "engine": engine,
        "build seconds": round(cpu if sys.platform != "emscripten" else wall, 1),  # in a tab one thread is all there is
        "bytes": sum(told.bytes.values()),
        "mean degree": round(told.layers[0].mean_degree, 1),
        "points": points,
    }
