"""The kernels: compiled, signed, and put where the package and its wheel have them."""

import subprocess
from pathlib import Path

import environment
from steps import ROOT, Failure, files, once, say

PACKS = ROOT / "pyruvllm" / "kernels" / "packs"
SOURCES = [ROOT / "wasm_kernels", *(ROOT / "pyruvllm" / "kernels").glob("*.py"), environment.LOCK]


def kernels() -> Path:
    """pyruvllm/kernels/packs, whole."""
    interpreter = environment.python()

    def make() -> list[Path]:
        say("Kernels: compiling and signing")
        core = PACKS / "core"
        for path in files([PACKS]):
            path.unlink()
        for step in (["build", core], ["sign", core, PACKS / "keys.json"]):
            command = [interpreter, "-m", f"wasm_kernels.{step[0]}", *step[1:]]
            done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise Failure(f"The kernels could not be built by wasm_kernels/{step[0]}.py:\n{done.stdout}{done.stderr}")
        return list(files([PACKS]))

    once("kernels", SOURCES, make)
    return PACKS
