"""Compiles families and compares every kernel with its twin in numpy, natively: what one runs while writing a kernel.

    python -m wasm_kernels.check [FAMILY ...] [--rounds N]
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pyruvllm.kernels import cases, manifest
from pyruvllm.kernels.arena import Arena
from pyruvllm.kernels.library import Library

from . import build, declare


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", default=declare.families())
    parser.add_argument("--rounds", type=int, default=5, help="random cases of each size")
    options = parser.parse_args()
    wrong = 0
    with TemporaryDirectory() as folder:
        build.build(Path(folder), options.families)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    library = Library(manifest.read(files[manifest.FILE]), files, Arena())
    for operation in library.operations:
        twin = library.kernel(operation, "reference")
        for name in library.names(operation):
            tries = ((size, seed) for size in (0, 1, 2) for seed in range(options.rounds))
            found = ((size, seed, tried(library, operation, name, twin, seed, size)) for size, seed in tries)
            faults = [f"size {size}, seed {seed}: {fault}" for size, seed, fault in found if fault]
            wrong += len(faults)
            print(f"{'WRONG' if faults else 'ok   '} {operation:24} {name}", *faults[:3], sep="\n      " if faults else " ")
    return int(wrong > 0)


def tried(library: Library, operation: str, name: str, twin, seed: int, size: int) -> str | None:
    try:
        return cases.fault(library.kernel(operation, name), twin, seed, size)
    except Exception as error:  # whatever it is, the other kernels are still to be looked at
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
