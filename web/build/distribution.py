"""The Pyodide distribution that the page serves: the core from npm, numpy by its digest, and the project's own wheel."""

import hashlib
import json
import subprocess
from pathlib import Path

from downloads import pyodide_file
from environment import PYTHON
from kernels import kernels
from steps import BUILD, DIST, ROOT, WEB, Failure, once, put, say

CORE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
PACKAGES = ("numpy",)
SOURCES = [ROOT / "hnsw_pure", ROOT / "pyruvllm", ROOT / "pyproject.toml", ROOT / "LICENSE", ROOT / "README.md"]


def wheel() -> Path:
    """The project's wheel, pure Python, in dist/."""
    kernels()
    once("wheel", SOURCES, make_wheel)
    return next((ROOT / "dist").glob("pyruvllm-*-py3-none-any.whl"))


def make_wheel() -> list[Path]:
    done = subprocess.run([PYTHON, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"The wheel could not be built:\n{done.stdout}{done.stderr}")
    built = list((ROOT / "dist").glob("pyruvllm-*.whl"))
    say(f"Wheel: {', '.join(str(path.relative_to(ROOT)) for path in built)}")
    return built


def distribution(node_modules: Path) -> Path:
    """web/dist/pyodide, complete: ``import pyruvllm`` works there without any network."""
    core = node_modules / "pyodide"
    project = wheel()
    once("distribution", [core / "pyodide-lock.json", core / "package.json", project, Path(__file__)], lambda: assemble(core, project))
    return DIST / "pyodide"


def assemble(core: Path, project: Path) -> list[Path]:
    say("Pyodide: assembling web/dist/pyodide")
    target = DIST / "pyodide"
    version = json.loads((core / "package.json").read_text())["version"]
    lock = json.loads((core / "pyodide-lock.json").read_text())
    made = [put(core / name, target / name) for name in CORE]
    entries = {name: lock["packages"][name] for name in PACKAGES}
    for entry in entries.values():
        made.append(put(pyodide_file(entry["file_name"], entry["sha256"], version), target / entry["file_name"]))
    made.append(put(project, target / project.name))
    entries["pyruvllm"] = own_entry(project)
    path = target / "pyodide-lock.json"
    path.write_text(json.dumps({"info": lock["info"], "packages": entries}, indent=1))
    return [*made, path]


def own_entry(project: Path) -> dict:
    """What Pyodide's lock says of the project's wheel."""
    return {
        "name": "pyruvllm",
        "version": project.name.split("-")[1],
        "file_name": project.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(project.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": ["pyruvllm", "hnsw_pure"],
        "depends": list(PACKAGES),
        "unvendored_tests": False,
    }


def lane_wheels(folder: Path) -> list[Path]:
    """The pure wheels that run tests inside Pyodide, of the versions that run them natively."""
    names = ("pytest", "hypothesis", "pluggy", "iniconfig", "packaging", "sortedcontainers", "pygments")
    locked = dict(line.split(" ")[0].split("==") for line in (WEB / "build" / "requirements.lock").read_text().splitlines() if "==" in line)
    wheels = [path for name in names for path in folder.glob(f"{name}-{locked[name]}-py*-none-any.whl")]
    if len(wheels) != len(names):
        raise Failure(f"{folder} lacks a pure wheel of one of {', '.join(names)}: remove that folder and run again to fetch them anew.")
    return [put(path, BUILD / "lane" / "wheels" / path.name) for path in wheels]
