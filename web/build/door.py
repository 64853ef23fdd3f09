"""The commands of build.sh. Standard library only: it runs before there is an environment."""

import argparse
import errno
import fcntl
import shutil
import subprocess
import sys
import threading
import time

import assemble
import environment
import kernels
import suites
from distribution import wheel
from serve import open_server
from small import small_model
from steps import BUILD, CACHE, DIST, ROOT, WEB, Failure, no_room, say

PORT = 8765


def main() -> int:
    options = parse()
    if sys.platform == "win32":
        raise Failure("The build runs on Linux and macOS; on Windows use WSL.")
    BUILD.mkdir(exist_ok=True)
    return options.run(options) or 0


def parse() -> argparse.Namespace:
    about = "Builds, shows, tests and measures PyRuvLLM. Each command sets up what it needs, once."
    parser = argparse.ArgumentParser(prog="./build.sh", description=about)
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    page = command("demo", demo, "serve the page on this machine")
    page.add_argument("--port", type=port, default=PORT, help=f"default {PORT}; 0: any free one")
    test = command("test", test_, f"run the tests: all, or one of {', '.join(suites.SUITES)}")
    test.add_argument("suite", nargs="?", choices=suites.SUITES)
    bench = command("bench", bench_, "measure: all of tests/bench, or one by name; JSON in tests/bench/out")
    bench.add_argument("name", nargs="?")
    command("fuzz", fuzz, "open hostile model files, guided by coverage: --seconds 600")
    command("wheel", lambda options: locked(environment.python, wheel), "build the wheel into dist/")
    command("kernels", lambda options: locked(kernels.kernels), "compile and sign the kernels into pyruvllm/kernels/packs")
    command("web", lambda options: locked(assemble.site), "build the page into web/dist")
    command("model", lambda options: locked(assemble.model), "build the embedding model")
    command("small-model", lambda options: small_model(), "train the small model that ships with the package: needs torch, and hours")
    command("lock", lambda options: relock(), "renew web/build/requirements.lock")
    command("clean", clean, "remove all that was built; the downloads stay in the cache")
    options, rest = parser.parse_known_args()
    options.rest = rest
    if rest and options.run not in (test_, bench_, fuzz):
        parser.error(f"unrecognised: {' '.join(rest)}")
    return options


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"{number} is no port: 0 to 65535")
    return number


def locked(*steps) -> None:
    """Runs build steps while no other build works in this folder."""
    with (BUILD / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another build in this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for step in steps:
            step()


def demo(options: argparse.Namespace) -> None:
    server = open_server([DIST], options.port)
    begun = time.monotonic()
    try:
        locked(assemble.site)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"Ready after {time.monotonic() - begun:.1f} s: {server.address}  (Ctrl-C stops it)")
        threading.Event().wait()
    except KeyboardInterrupt:
        say("\nStopped.")
    finally:
        server.server_close()


def test_(options: argparse.Namespace) -> int:
    names = [options.suite] if options.suite else list(suites.SUITES)
    locked(*suites.needs(names))
    return suites.run(names, options.rest)


def bench_(options: argparse.Namespace) -> int:
    locked(assemble.site)
    folder = ROOT / "tests" / "bench"
    found = [path.stem for path in sorted(folder.glob("*.py")) if "__main__" in path.read_text()]
    options.name = options.name and options.name.replace("-", "_")
    if options.name and options.name not in found:
        raise Failure(f"There is no measurement {options.name!r}; there are: {', '.join(found) or 'none yet'}.")
    code = 0
    for name in [options.name] if options.name else found:
        say(f"\n== bench {name}")
        command = [environment.PYTHON, "-m", f"tests.bench.{name}", *options.rest]
        code |= subprocess.run(command, cwd=ROOT, env=suites.surroundings()).returncode
    return code


def fuzz(options: argparse.Namespace) -> int:
    locked(environment.python, kernels.kernels)
    return subprocess.run([environment.PYTHON, "-m", "tests.fuzz.gguf", *options.rest], cwd=ROOT, env=suites.surroundings()).returncode


def relock() -> None:
    """Resolves pyproject.toml anew for every platform. Needs the network and the package uv."""
    uv = shutil.which("uv")
    if not uv:
        raise Failure("Renewing the lock needs uv: pip install uv")
    command = "pip compile --universal --python-version 3.11 --extra dev --generate-hashes --only-binary :all:".split()
    quiet = "--no-emit-index-url --no-emit-find-links --no-header --upgrade --quiet pyproject.toml".split()
    done = subprocess.run([uv, *command, *quiet], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure("uv could not resolve the packages (above: why).")
    environment.LOCK.write_text(f"# Every Python package that builds and tests the project, exactly. Renew: ./build.sh lock\n{done.stdout}")


def clean(options: argparse.Namespace) -> None:
    for path in (BUILD, DIST, kernels.PACKS, ROOT / "dist", ROOT / ".venv", WEB / "node_modules", ROOT / "tests" / "bench" / "out"):
        shutil.rmtree(path, ignore_errors=True)
    for name in (".pytest_cache", ".ruff_cache", ".hypothesis"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for package in ("hnsw_pure", "pyruvllm", "tests", "wasm_kernels", "web/build"):
        for path in (ROOT / package).rglob("__pycache__"):
            shutil.rmtree(path, ignore_errors=True)
    say(f"Removed what was built. Downloads are kept in {CACHE}; remove that folder too to free all of it.")


if __name__ == "__main__":
    try:
        try:
            sys.exit(main())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                no_room()
            raise
    except Failure as failure:
        sys.exit(f"\nbuild.sh: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
