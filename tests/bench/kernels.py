"""What the kernels are worth: each beside what it is measured against, in the same run, in wasmtime, Node and Chromium.

    ./build.sh bench kernels [--host wasmtime|node|chromium]

Times of kernels are taken in C, over as many calls as a clock of 0.1 ms needs; the best of five. Beside them stand the same C compiled
for this machine with 128-bit vectors (tests/bench/native), a loop that only reads, and numpy on the same host.
"""

import argparse
import base64
import ctypes
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.bench import hosts
from tests.bench.report import report
from wasm_kernels import build

HERE = Path(__file__).parent


async def measure(given):
    """Runs on either host, so it imports for itself. Returns figures by name: numbers, or texts where one number does not say it."""
    import base64
    import time

    import numpy as np

    from pyruvllm.kernels import manifest, memory
    from pyruvllm.kernels.commands import CommandBuffer
    from pyruvllm.kernels.library import Library
    from pyruvllm.kernels.pack import bundled

    files = bundled()
    library = Library(manifest.read(files[manifest.FILE]), files, memory.current())
    space, clock, rng = library.memory, time.perf_counter, np.random.default_rng(20260118)
    probe = space.load(base64.b64decode(given["probe"]), "probe")
    repeat, read = probe("repeat"), probe("read")
    figures = {}

    def kernel(operation, variant=None, implementation=None):
        names = [name for name in library.names(operation) if name != "reference"]
        chosen = [n for n in names if (not variant or n.endswith(variant)) and (not implementation or n.startswith(implementation + "."))]
        return library.kernel(operation, chosen[0])

    def here(array):
        room = space.empty(array.shape, array.dtype)
        room[...] = array
        return room

    def floats(*shape):
        return here(rng.standard_normal(shape, np.float32))

    def zeros(shape, dtype=np.float32):
        return here(np.zeros(shape, dtype))

    def best(work, rounds):
        """Microseconds a round, best of five."""
        times = []
        for _ in range(5):
            begun = clock()
            work(rounds)
            times.append((clock() - begun) / rounds * 1e6)
        return min(times)

    struct = zeros(4, np.uint32)

    def in_c(kernel, **values):
        """Microseconds of one call without the crossing."""
        call = kernel.bind(**values)
        call.prepare()
        assert not call.staged

        def work(rounds):
            struct[:3] = kernel.function.index, call.address, rounds
            status = repeat(space.address(struct))
            assert status == 0, status

        begun = clock()
        work(1)
        once = max(clock() - begun, 1e-6)
        work(max(1, int(0.1 / once)))  # warm: V8 compiles what runs often a second time
        begun = clock()
        work(max(1, int(0.02 / once)))
        once = max((clock() - begun) / max(1, int(0.02 / once)), 1e-8)
        return best(work, max(1, int(0.05 / once)))

    def in_python(work, seconds=0.05):
        """Microseconds of one call of a function."""
        for _ in range(3):
            work()
        begun, count = clock(), 0
        while clock() - begun < seconds:
            work()
            count += 1
        return best(lambda rounds: [work() for _ in range(rounds)], max(1, count))

    variants = [variant for variant in ("relaxed", "simd128") if any(name.endswith(variant) for name in library.names("dot"))]
    figures["variants"] = ", ".join(variants)

    # crossing
    x, y = zeros(1024, np.float16), zeros(1024)
    call = kernel("widen").bind(x=x, y=y, n=1)
    figures["one crossing, us"] = round(in_python(call), 2)
    small = kernel("widen")
    alone = in_c(small, x=x, y=y, n=1024)
    buffer = CommandBuffer(kernel("replay"))
    for _ in range(200):
        buffer.record(small, x=x, y=y, n=1024)
    together = in_python(buffer.replay)
    figures["200 operations of 1,024 numbers, replayed, us"] = round(together, 1)
    figures["  over their sum in C"] = round(together / (200 * alone), 3)

    # distance
    query, rows, scores = floats(768), floats(32, 768), zeros(32)
    dot = {variant: in_c(kernel("dot", variant), query=query, rows=rows, scores=scores, n=32, dim=768) / 32 * 1000 for variant in variants}
    for variant in variants:
        figures[f"dot of 768 float32 in cache, {variant}, ns"] = round(dot[variant], 1)
        figures[f"  over the same C natively ({variant})"] = round(dot[variant] / given["native dot, ns"], 2)
    codes, code = here(rng.integers(-127, 128, (32, 768)).astype(np.int8)), here(rng.integers(-127, 128, 768).astype(np.int8))
    arguments = {"query": code, "rows": codes, "scales": floats(32), "scores": scores, "n": 32, "dim": 768, "query_scale": 1.0}
    eight = min(in_c(library.kernel("dot_i8", name), **arguments) for name in library.names("dot_i8") if name != "reference") / 32 * 1000
    figures["dot of 768 int8 in cache, ns"] = round(eight, 1)
    figures["  times faster than float32"] = round(min(dot.values()) / eight, 2)
    table, slots, out = floats(1000, 768), here(rng.integers(0, 1000, 64).astype(np.int32)), zeros(64)
    gather = kernel("gather_dot").bind(query=query, table=table, slots=slots, scores=out, total=1000, n=64, dim=768)
    ours, numpys = in_python(gather), in_python(lambda: table[slots] @ query)
    figures["gather and score 64 x 768, crossing included, us"] = round(ours, 2)
    figures["  times faster than numpy here (gather)"] = round(numpys / ours, 1)

    # search
    from hnsw_pure import HNSW
    from pyruvllm.kernels.accelerate import HnswKernels

    def clustered(count):
        centres = np.random.default_rng(1).standard_normal((64, 768), np.float32)
        return centres[rng.integers(0, 64, count)] + 0.7 * rng.standard_normal((count, 768), np.float32)

    count = given["vectors"]
    base, asked = clustered(count), clustered(50)
    accelerated = HNSW(768, accelerator=HnswKernels(space, kernel))
    begun = clock()
    accelerated.add(np.arange(count), base)
    figures[f"building HNSW of {count} x 768, one thread, s"] = round(clock() - begun, 2)
    plain = HNSW.from_segments(accelerated.segments())
    for index, label, rounds in ((accelerated, "kernel", 5), (plain, "numpy", 1)):
        index.search(asked[0], 10, ef=64)
        times = []
        for _ in range(rounds):
            begun = clock()
            for each in asked:
                index.search(each, 10, ef=64)
            times.append((clock() - begun) / len(asked) * 1e6)
        figures[f"whole search, ef 64, {label}, us"] = round(min(times), 1)
    ratio = figures["whole search, ef 64, numpy, us"] / figures["whole search, ef 64, kernel, us"]
    figures["  times faster than numpy here (search)"] = round(ratio, 1)

    # matrices
    w, v, u = floats(1024, 1024), floats(1024), zeros(1024)
    ours, numpys = in_c(kernel("matvec"), w=w, x=v, y=u, rows=1024, cols=1024), in_python(lambda: w @ v)
    figures["matrix x vector 1024 x 1024 float32, us"] = round(ours, 1)
    figures["  times faster than numpy here (matvec)"] = round(numpys / ours, 2)
    for size in (256, 1024):
        p, q, r = floats(size, size), floats(size, size), zeros((size, size))
        for implementation in library.operations["matmul"].kernels:
            each = in_c(kernel("matmul", None, implementation), a=p, b=q, c=r, m=size, n=size, k=size)
            figures[f"{implementation} of {size}, G multiply-adds/s"] = round(size**3 / each / 1e3, 2)

    # weights in blocks
    large = zeros(64 << 20, np.uint8)
    given_read = zeros(4, np.uint32)

    def reading(rounds):
        given_read[:3] = space.address(large), large.nbytes, rounds
        assert read(space.address(given_read)) == 0

    reading(3)
    figures["reading memory with vectors, GB/s"] = round(large.nbytes / best(reading, 4) / 1e3, 1)
    rows, cols = 4608, 1024
    formats = {"q4_0": (32, 18, (0,)), "q8_0": (32, 34, (0,)), "q4_k": (256, 144, (0, 2)), "q6_k": (256, 210, (208,))}
    for kind, (block, stored, scales) in formats.items():  # numbers and bytes a block, where its float16 are
        operation = library.operations[f"repack_{kind}"]
        extents = {each.name: each for each in operation.operands}
        room = extents["w"].needed({"rows": rows, "cols": cols})
        blocks = here(rng.integers(0, 256, rows * cols // block * stored).astype(np.uint8))
        for at in scales:  # of any bits they would be infinite
            blocks.reshape(-1, stored)[:, at : at + 2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
        weights = zeros(room, np.uint8)
        kernel(f"repack_{kind}")(blocks=blocks, w=weights, rows=rows, cols=cols)
        for variant in variants:
            times = {}
            for batch in (1, 4, 8, 32):
                values = {"x": floats(batch, cols), "y": zeros((batch, rows)), "batch": batch, "rows": rows, "cols": cols}
                times[batch] = in_c(kernel(f"linear_{kind}", variant), w=weights, first=0, count=rows, **values)
            each = {batch: batch * rows * cols / took / 1e3 for batch, took in times.items()}
            speeds = ", ".join(f"{value:.1f} ({batch})" for batch, value in each.items())
            figures[f"linear_{kind} {rows} x {cols}, {variant}, G weights/s (columns)"] = speeds
    return figures


def native_dot() -> float:
    """Nanoseconds of an inner product of 768 in cache, of the same C, compiled for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["-mcpu=x86_64_v2"] if os.uname().machine == "x86_64" else []
        places = ["-I", str(HERE / "native"), "-I", str(build.HERE)]
        made = f"{folder}/dot.so"
        build.zig(["cc", "-O3", *flags, "-ffp-contract=off", "-shared", "-fPIC", *places, "-o", made, str(HERE / "native" / "dot.c")])
        library = ctypes.CDLL(made)
    rng = np.random.default_rng(0)
    query, rows, scores = rng.standard_normal(768, np.float32), rng.standard_normal((32, 768), np.float32), np.zeros(32, np.float32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (query, rows, scores)]
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        library.dots(*pointers, 32, 768, 3000)
        times.append((time.perf_counter() - begun) / 3000 / 32 * 1e9)
    np.testing.assert_allclose(scores, rows @ query, atol=1e-3)
    return min(times)


def probe() -> str:
    """The module of tests/bench/probe.c, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        return base64.b64encode(build.module(HERE / "probe.c", Path(folder) / "probe.wasm", "simd128").read_bytes()).decode()


HOSTS = {"wasmtime": hosts.native, "node": hosts.node, "chromium": hosts.in_chromium}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=HOSTS, action="append")
    parser.add_argument("--vectors", type=int, default=5000, help="in the index that is built and searched")
    options = parser.parse_args()
    given = {"native dot, ns": native_dot(), "probe": probe(), "vectors": options.vectors}
    figures: dict[str, object] = {"the same C natively, dot of 768, ns": round(given["native dot, ns"], 1)}
    for host in options.host or HOSTS:
        figures |= {f"{host}: {name}": value for name, value in HOSTS[host](measure, given).items()}
    report("kernels", figures)


if __name__ == "__main__":
    main()
