"""The page of web/test/harness: the page store without the rest, for tests and measurements of it alone."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.browser import ROOT, serving

WEB = ROOT / "web"
EXTERNAL = ("node:*", "fs", "path", "crypto")  # sql.js asks for these only in Node


@contextmanager
def storage_site() -> Iterator[str]:
    """The address of a server that has ``storage.html``, bundled anew, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="pyruvllm-harness-") as folder:
        bundle = [WEB / "node_modules" / ".bin" / "esbuild", WEB / "test" / "harness" / "storage.ts", "--bundle", "--format=esm"]
        options = [f"--outfile={folder}/storage.js", "--log-level=warning", *(f"--external:{name}" for name in EXTERNAL)]
        subprocess.run([*bundle, *options], check=True)
        shutil.copy(WEB / "test" / "harness" / "storage.html", folder)
        Path(folder, "wasm").mkdir()
        shutil.copy(WEB / "node_modules" / "sql.js" / "dist" / "sql-wasm-browser.wasm", Path(folder, "wasm", "sql-wasm.wasm"))
        with serving(Path(folder), WEB / "public") as address:
            yield address
