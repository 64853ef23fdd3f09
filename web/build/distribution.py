"""The Pyodide distribution that the page serves: the core from npm, numpy by its digest, and the project's own wheel."""

import json
import subprocess
import zipfile
from pathlib import Path

from downloads import pyodide_file
from environment import LOCK, PYTHON, WHEELS, node
from kernels import kernels
from steps import BUILD, DIST, ROOT, WEB, Failure, once, put, run, say, sha256

CORE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
PACKAGES = ("numpy",)
TEMPLATES = ("jinja2", "markupsafe")  # which chat templates of language models need; Pyodide's own builds are on its CDN only
BYTECODE = WEB / "build" / "bytecode.mjs"
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
    inputs = [core / "pyodide-lock.json", core / "package.json", project, BYTECODE, Path(__file__)]
    once("distribution", inputs, lambda: assemble(core, project))
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
    for name in TEMPLATES:
        made.append(pure(name, target))
        entries[name] = own_entry(name, made[-1], [name], ["markupsafe"] if name == "jinja2" else [])
    made.append(put(project, target / project.name))
    entries["pyruvllm"] = own_entry("pyruvllm", project, ["pyruvllm", "hnsw_pure"], [*PACKAGES, "jinja2"])
    archives = [each for each in made if each.suffix in (".whl", ".zip")]
    run([node(), BYTECODE, core, *archives], "The Python of the page could not be compiled (above: why).")
    for entry in entries.values():
        entry["sha256"] = sha256(target / entry["file_name"])
    path = target / "pyodide-lock.json"
    path.write_text(json.dumps({"info": lock["info"], "packages": entries}, indent=1))
    return [*made, path]


def pure(name: str, folder: Path) -> Path:
    """The wheel of that package, of the version that serves natively, without what is compiled: a package that can do without it."""
    version = locked()[name]
    source = next(WHEELS.glob(f"{name}-{version}-*.whl"), None)
    if source is None:
        raise Failure(f"{WHEELS} lacks the wheel of {name}: remove that folder and run again to fetch it anew.")
    target = folder / f"{name}-{version}-py3-none-any.whl"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for entry in whole.infolist():
            if not entry.filename.endswith((".so", ".pyd", ".c", ".pyi", "/RECORD", "/WHEEL")):
                made.writestr(zipfile.ZipInfo(entry.filename), whole.read(entry), zipfile.ZIP_DEFLATED)
        about = f"{name}-{version}.dist-info"
        made.writestr(zipfile.ZipInfo(f"{about}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(zipfile.ZipInfo(f"{about}/RECORD"), "")
    return target


def own_entry(name: str, wheel: Path, imports: list[str], depends: list[str]) -> dict:
    """What Pyodide's lock says of a wheel that is put there."""
    return {
        "name": name,
        "version": wheel.name.split("-")[1],
        "file_name": wheel.name,
        "install_dir": "site",
        "package_type": "package",
        "imports": imports,
        "depends": depends,
        "unvendored_tests": False,
    }


def locked() -> dict[str, str]:
    """The version of each Python package, as it is locked."""
    return dict(line.split(" ")[0].split("==") for line in LOCK.read_text().splitlines() if "==" in line)


def lane_wheels(folder: Path) -> list[Path]:
    """The pure wheels that run tests inside Pyodide, of the versions that run them natively."""
    names = ("pytest", "hypothesis", "pluggy", "iniconfig", "packaging", "sortedcontainers", "pygments")
    versions = locked()
    wheels = [path for name in names for path in folder.glob(f"{name}-{versions[name]}-py*-none-any.whl")]
    if len(wheels) != len(names):
        raise Failure(f"{folder} lacks a pure wheel of one of {', '.join(names)}: remove that folder and run again to fetch them anew.")
    return [put(path, BUILD / "lane" / "wheels" / path.name) for path in wheels]
