"""Who is measured beside: wllama from npm, and llama.cpp built from PyPI's llama-cpp-python. Installed at the first run, each in a place of
its own under build/, never the project's. PYRUVLLM_LLAMA_PYTHON names an interpreter that has llama_cpp already.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.bench import hosts
from tests.e2e.browser import DIST, HEADERS, ROOT, serving

HERE = Path(__file__).parent
FOLDER = ROOT / "build" / "decode-bench"
MODULES = ("@wllama/wllama@3.8.1",)
BUILD = 45 * 60  # seconds that building llama.cpp may take
PEERS = ("wllama", "llama.cpp")


def measured(peer: str, file: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Figures as ``decode.measure`` has them: medians are the caller's."""
    return _wllama(file, given) if peer == "wllama" else _llama(file, given)


def _wllama(file: Path, given: dict[str, Any]) -> dict[str, Any]:
    modules = _modules()
    # what it needs of a page is more than ours may have: workers made of text
    headers = {"Cross-Origin-Embedder-Policy": "require-corp", "Content-Security-Policy": "frame-ancestors 'none'"}
    with patch.dict(HEADERS, headers), serving(DIST, HERE, modules, file.parent) as address, hosts.blank_page(address) as page:
        given = {**given, "modules": address.rstrip("/"), "file": f"{address}{file.name}"}
        with hosts.peak_of_renderers() as peak:
            told = page.evaluate("async (given) => (await import('./wllama.mjs')).measure(given)", given)
        return {**told, "peak memory, MB": peak[0]}


def _llama(file: Path, given: dict[str, Any]) -> dict[str, Any]:
    asked = [_python(), HERE / "llama_native.py", file, json.dumps(given)]
    return json.loads(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=hosts.LIMIT).stdout.splitlines()[-1])


def _modules() -> Path:
    folder = FOLDER / "npm"
    if not (folder / "ready").exists():
        print("installing wllama", file=sys.stderr)  # noqa: T201
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        subprocess.run(["npm", "install", "--silent", "--no-save", *MODULES], cwd=folder, check=True)
        (folder / "ready").touch()
    return folder / "node_modules"


def _python() -> Path:
    if named := os.environ.get("PYRUVLLM_LLAMA_PYTHON"):
        return Path(named)
    folder = FOLDER / "python"
    binary = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print("building llama.cpp, which takes a while", file=sys.stderr)  # noqa: T201
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([binary, "-m", "pip", "install", "--quiet", "llama-cpp-python"], check=True, timeout=BUILD)
        (folder / "ready").touch()
    return binary
