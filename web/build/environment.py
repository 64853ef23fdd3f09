"""The Python environment and the npm packages, from the user's cache folder; from the network only what is not there."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from steps import CACHE, ROOT, WEB, Failure, key, once, run, say

LOCK = WEB / "build" / "requirements.lock"
WHEELS = CACHE / "wheels"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NODE = 20  # the oldest that runs the tests: WebAssembly stack switching, node --test


def python() -> Path:
    """The environment's interpreter, with exactly the locked packages."""
    once("python", [LOCK], make_environment, also=f"{sys.version} {platform.platform()} {VENV}")
    return PYTHON


def make_environment() -> list[Path]:
    fetch_wheels()
    if not current(PYTHON):
        say("Python environment: creating .venv")
        shutil.rmtree(VENV, ignore_errors=True)
        run(
            [sys.executable, "-m", "venv", VENV],
            f"Python {platform.python_version()} could not make a virtual environment (above: why). "
            "Debian and Ubuntu keep that in a package of its own: apt-get install python3-venv",
        )
    say("Python environment: installing the locked packages")
    run(
        [PYTHON, "-m", "pip", "install", "--quiet", "--no-compile", "--no-index", "--find-links", WHEELS, "--require-hashes", "-r", LOCK],
        f"The packages in {WHEELS} could not be installed (above: why). Remove that folder and run again to fetch them anew.",
        env=offline(),
    )
    return [PYTHON]


def current(interpreter: Path) -> bool:
    """Whether the environment there is one of the Python that runs this."""
    if not interpreter.exists():
        return False
    ask = [str(interpreter), "-c", "import sys; print(sys.version)"]
    return subprocess.run(ask, capture_output=True, text=True).stdout.strip() == sys.version


def fetch_wheels() -> None:
    """Fills the wheel folder for this lock, Python and machine; a mark says that it is complete."""
    mark = WHEELS / f".complete-{key([LOCK], f'{sys.version_info[:2]} {platform.system()} {platform.machine()}')[:16]}"
    if mark.exists():
        return
    say(f"Python packages: fetching into {WHEELS}")
    WHEELS.mkdir(parents=True, exist_ok=True)
    pip(["--require-hashes", "-r", str(LOCK), "-d", str(WHEELS)], f"the packages named in {LOCK.relative_to(ROOT)}", WHEELS)
    mark.touch()


def pip(arguments: list[str], what: str, where: Path) -> None:
    """``pip download`` of wheels only. Failure names what is missing and where it was looked for."""
    quiet = ["--quiet", "--disable-pip-version-check", "--retries=2"]
    run(
        [sys.executable, "-m", "pip", "download", *quiet, "--only-binary=:all:", *arguments],
        f"Could not fetch {what}: not in {where}, and the package index gave no answer (above: pip's own words). "
        "Connect to the network once and run again; after that no network is needed.",
    )


def offline() -> dict[str, str]:
    """The environment without what would send pip elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def node() -> str:
    """The path of a Node that is new enough."""
    found = shutil.which("node")
    if not found or not shutil.which("npm"):
        missing = "node" if not found else "npm"
        raise Failure(
            f"{missing} was not found. Install Node {NODE} or newer with npm "
            "(Debian: apt-get install nodejs npm; macOS: brew install node)."
        )
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE:
        raise Failure(f"Node {NODE} or newer is needed; {found} is {version}. Install a newer one, or put it first in PATH.")
    return found


def packages() -> Path:
    """web/node_modules, exactly as the lock file names it."""
    node()
    inputs = [WEB / "package.json", WEB / "package-lock.json", WEB / ".npmrc"]
    once("npm", inputs, make_packages, also=f"{platform.system()} {platform.machine()}")
    return WEB / "node_modules"


def make_packages() -> list[Path]:
    cache = CACHE / "npm"
    command = ["npm", "ci", "--ignore-scripts", "--no-progress", "--loglevel=error", "--cache", str(cache)]
    say("npm packages: installing")
    if subprocess.run([*command, "--offline"], cwd=WEB, capture_output=True).returncode:
        say(f"npm packages: fetching into {cache}")
        run(
            [*command, "--prefer-offline"],
            f"Could not fetch the packages named in web/package-lock.json: not all are in {cache}, and the npm registry gave no answer "
            "(above: npm's own words). Connect to the network once and run again; after that no network is needed.",
            cwd=WEB,
        )
    return [WEB / "node_modules" / ".package-lock.json"]
