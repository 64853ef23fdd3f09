"""Where the peers are installed: an environment and a folder of their own under build/, made at the first run, never the project's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.bench import hosts
from tests.e2e.browser import DIST, HEADERS, serving

from .data import cache

HERE = Path(__file__).parent
PACKAGES = ("hnswlib==0.8.0", "usearch==2.26.6", "faiss-cpu==1.15.1", "numpy")
MODULES = ("hnswlib-wasm@0.8.2", "@ruvector/ruvllm-wasm@2.0.2")
NATIVE = ("hnswlib", "faiss", "faiss-sq8", "usearch", "usearch-i8")
WASM = ("hnswlib-wasm", "ruvllm-wasm")
ROUTER = 2000  # vectors that ruvllm-wasm's router is tried with: it looks at all of them, whatever its ef


def _python() -> Path:
    folder = cache() / "python"
    binary = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print("installing the native peers", file=sys.stderr)  # noqa: T201
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([binary, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return binary


def _modules() -> Path:
    folder = cache() / "npm"
    if not (folder / "ready").exists():
        print("installing the peers for browsers", file=sys.stderr)  # noqa: T201
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        subprocess.run(["npm", "install", "--silent", "--no-save", *MODULES], cwd=folder, check=True)
        (folder / "ready").touch()
    return folder / "node_modules"


def native(library: str, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    asked = [_python(), HERE / "native_peers.py", library, folder, json.dumps(given)]
    return json.loads(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=hosts.LIMIT).stdout.splitlines()[-1])


def wasm(library: str, host: str, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    modules = _modules()
    # what these need of a page is more than ours may have: they make functions of text
    headers = {"Cross-Origin-Embedder-Policy": "require-corp", "Content-Security-Policy": "frame-ancestors 'none'"}
    with patch.dict(HEADERS, headers), serving(DIST, cache(), HERE, modules) as address:
        given = {**given, "library": library, "data": f"{address}{folder.name}"}
        if host == "node":
            asked = ["node", HERE / "wasm_peers.mjs", json.dumps({**given, "modules": modules.as_uri()})]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=hosts.LIMIT, env={**os.environ})
            if done.returncode:
                raise RuntimeError(f"{library} in Node: {(done.stderr or done.stdout)[-600:]}")
            return json.loads(done.stdout.splitlines()[-1])
        with hosts.blank_page(address) as page:
            given["modules"] = address.rstrip("/")
            return page.evaluate("async (given) => (await import('./wasm_peers.mjs')).measure(given)", given)
