"""Puts web/dist together: the bundles, Pyodide with the wheel, the model, and a compressed twin of what shrinks."""

import gzip
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import environment
from distribution import distribution
from downloads import MODEL_WHEEL, model_wheel
from steps import BUILD, CACHE, DIST, ROOT, WEB, Failure, files, key, once, put, say

MODEL = WEB / "build" / "model.py"
NAME = "models/all-MiniLM-L6-v2"  # where the package looks for it, under its assets
BUNDLER = WEB / "build" / "bundle.mjs"
ASSETS = CACHE / "assets"  # where the native package looks for models
SHRINKS = {".js", ".mjs", ".css", ".html", ".json", ".wasm", ".svg", ".onnx", ".md", ".webmanifest"}


def site() -> Path:
    """web/dist, whole."""
    bridge()
    model()
    node_modules = environment.packages()
    once("page", [WEB / "src", WEB / "public", BUNDLER, node_modules / ".package-lock.json"], lambda: bundle("page"))
    served = [path for path in files([DIST]) if path.suffix in SHRINKS]
    once("gzip", served, lambda: compress(served))
    return DIST


def bridge() -> Path:
    """What tests inside Pyodide need of web/dist: the distribution, the bridge and its WASM modules."""
    environment.python()
    node_modules = environment.packages()
    distribution(node_modules)
    once("bridge", [WEB / "src" / "bridge", BUNDLER, node_modules / ".package-lock.json"], lambda: bundle("bridge"))
    return DIST


def bundle(target: str) -> list[Path]:
    """Runs esbuild; what it made."""
    say(f"Bundling: {target}")
    done = subprocess.run([environment.node(), BUNDLER, target], cwd=WEB, capture_output=True, text=True)
    sys.stdout.write(done.stderr)
    if done.returncode:
        raise Failure(f"esbuild could not bundle {target} (above: where).")
    return [ROOT / name for name in done.stdout.split()]


def model() -> Path:
    """The embedding model as int8 ONNX: made once a user, then copied to web/dist and to where native Python looks."""
    interpreter = environment.python()
    inputs = [MODEL, MODEL.with_name("model_texts.txt"), environment.LOCK]
    kept = CACHE / "models" / key(inputs, MODEL_WHEEL[2])[:16]

    def make() -> list[Path]:
        if not (kept / ".complete").exists():
            source = model_wheel()
            say("Model: building all-MiniLM-L6-v2 as int8 ONNX and checking it against float32")
            if subprocess.run([interpreter, MODEL, "--wheel", source, "--out", kept / NAME], cwd=ROOT).returncode:
                raise Failure(f"The embedding model could not be built by {MODEL.relative_to(ROOT)} (above: why).")
            (kept / ".complete").touch()
        sources = [path for path in files([kept]) if path.name != ".complete"]
        for path in sources:
            put(path, ASSETS / path.relative_to(kept))
        return [put(path, DIST / path.relative_to(kept)) for path in sources]

    once("model", inputs, make, also=MODEL_WHEEL[2])
    return DIST / "models"


def compress(served: list[Path]) -> list[Path]:
    """A .gz beside each file that gets at least a tenth smaller; kept while its content is."""
    made = []
    for path in served:
        content = path.read_bytes()
        if len(content) < 1024:
            continue
        packed = gzip.compress(content, 9, mtime=0)
        if len(packed) < 0.9 * len(content):
            target = path.with_name(path.name + ".gz")
            target.write_bytes(packed)
            os.utime(target, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            made.append(target)
    say(f"Compressed: {sum(path.stat().st_size for path in made) >> 20} MB in {len(made)} files")
    return made


def lane() -> None:
    """build/lane: the test modules as one archive for Pyodide, and the bridge under a name that Node takes for a module."""
    target = BUILD / "lane" / "tests.zip"

    def make() -> list[Path]:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = BUILD / "lane" / "generated"  # by packages that Pyodide has not
        subprocess.run([environment.PYTHON, "-m", "tests.generators.onnx_decoder", made], cwd=ROOT, check=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files(LANE_SOURCES):
                archive.write(path, path.relative_to(ROOT))
            for path in files([made]):
                archive.write(path, path.relative_to(made.parent))
        return [target]

    once("lane", LANE_SOURCES, make)
    put(DIST / "bridge.js", BUILD / "lane" / "bridge.mjs")


TESTS = ROOT / "tests"
LANE_SOURCES = [ROOT / "pyproject.toml", *(TESTS / name for name in ("conftest.py", "registries.py", "contracts", "generators", "pyodide"))]
