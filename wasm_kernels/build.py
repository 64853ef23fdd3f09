"""Compiles the kernels with zig's clang into relocatable WASM side modules, and packs them with their manifest.

    python -m wasm_kernels.build OUT [FAMILY ...]

Makes OUT/FAMILY.simd128.wasm and OUT/FAMILY.relaxed.wasm, the same bytes from the same sources on any machine, and OUT/manifest.json;
of the families named, or all. `sign.py` makes the manifest trusted.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from pyruvllm.kernels import manifest

from . import declare

HERE = Path(__file__).parent
FEATURES = {"simd128": ["simd128"], "relaxed": ["simd128", "relaxed-simd"]}  # by variant
COMPILE = [
    "cc", "-target", "wasm32-emscripten", "-std=c11", "-O3", "-fPIC", "-c", "-g0", "-ffp-contract=off", "-fno-math-errno",
    "-fno-trapping-math", "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-Wframe-larger-than=4096", "-Wno-unused-parameter",
]  # fmt: skip
# Families whose order of instructions is kept: the compiler's own has more vectors alive than the 16 registers of x86.
ORDERED = {"linear_q": ["-mllvm", "-pre-RA-sched=source"]}
LINK = ["wasm-ld", "-shared", "--experimental-pic", "--no-entry", "--unresolved-symbols=import-dynamic", "-s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("families", nargs="*", default=declare.families())
    options = parser.parse_args()
    build(options.out, options.families)


def build(out: Path, families: list[str]) -> list[Path]:
    """What it made: the modules and the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(out, family, variant) for family in families for variant in FEATURES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        modules = list(pool.map(lambda job: compiled(*job), jobs))
    path = out / manifest.FILE
    path.write_bytes(manifest.written([each for family in families for each in declare.operations(family)], modules, FEATURES))
    return [*modules, path]


def compiled(out: Path, family: str, variant: str) -> Path:
    """One family's module."""
    with TemporaryDirectory() as folder:
        (Path(folder) / f"{family}.gen.h").write_text(declare.header(declare.operations(family)))
        return module(HERE / f"{family}.c", out / f"{family}.{variant}.wasm", variant, Path(folder))


def module(source: Path, target: Path, variant: str, *includes: Path) -> Path:
    """A source compiled and linked into a side module. Exits with the compiler's words where it refuses."""
    with TemporaryDirectory() as folder:
        cpu = "-mcpu=generic+simd128+bulk_memory+nontrapping_fptoint+sign_ext" + ("+relaxed_simd" if variant == "relaxed" else "")
        places = [word for include in (*includes, HERE) for word in ("-I", str(include))]
        zig([*COMPILE, *ORDERED.get(source.stem, []), cpu, *places, "-o", f"{folder}/k.o", str(source)])
        zig([*LINK, "-o", f"{folder}/k.wasm", f"{folder}/k.o"])
        part = target.with_name(target.name + ".part")
        part.write_bytes((Path(folder) / "k.wasm").read_bytes())
        part.replace(target)
    return target


def zig(arguments: list[str]) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyruvllm" / "zig"
    places = {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-m", "ziglang", *arguments], capture_output=True, text=True, env={**os.environ, **places})
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nzig {arguments[0]} failed (above: where)")


if __name__ == "__main__":
    main()
