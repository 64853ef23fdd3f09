"""Steps that are done once: skipped while the content of what they are made from is what it was."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
DIST = WEB / "dist"
BUILD = ROOT / "build"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyruvllm"


class Failure(Exception):
    """Something that a person has to put right. The message says what it is and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file at or under the paths, in a fixed order, without what Python leaves behind."""
    for path in paths:
        if path.is_dir():
            yield from (each for each in sorted(path.rglob("*")) if each.is_file() and "__pycache__" not in each.parts)
        elif path.exists():
            yield path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key(inputs: Iterable[Path], also: str = "") -> str:
    """One hash over the names and contents of all inputs, and over ``also``: versions, options."""
    total = hashlib.sha256(also.encode())
    for path in files(inputs):
        total.update(f"{os.path.relpath(path, ROOT)} {sha256(path)}\n".encode())
    return total.hexdigest()


def once(name: str, inputs: Iterable[Path], make: Callable[[], Iterable[Path]], also: str = "") -> bool:
    """Calls ``make`` unless it ran for these inputs and all it made is still there. True if it ran.

    ``make`` returns the paths it made; those of an earlier run that it did not make again are removed.
    """
    stamp = BUILD / "stamps" / f"{name}.json"
    current = key(inputs, also)
    before = json.loads(stamp.read_text()) if stamp.exists() else {"key": "", "made": []}
    if before["key"] == current and all((ROOT / path).exists() for path in before["made"]):
        return False
    stamp.unlink(missing_ok=True)
    made = sorted({os.path.relpath(path, ROOT) for path in make()})
    for path in set(before["made"]) - set(made):
        (ROOT / path).unlink(missing_ok=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(json.dumps({"key": current, "made": made}, indent=1))
    return True


def put(source: Path, target: Path) -> Path:
    """Copies a file unless the target holds the same already; never leaves half a file under the target's name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (target.exists() and target.stat().st_size == source.stat().st_size and sha256(target) == sha256(source)):
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        part.replace(target)
    return target


def run(command: Sequence[str | Path], hint: str, **options) -> None:
    """Runs a command quietly; when it fails, shows what it wrote and raises Failure with the hint."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.stdout.write(done.stdout[-6000:])
        no_room(done.stdout)
        raise Failure(hint)


def no_room(output: str = "No space left on device") -> None:
    """Raises Failure if what a command wrote says that the disk is full."""
    if "No space left on device" in output or "ENOSPC" in output:
        free = {str(path): shutil.disk_usage(path).free >> 20 for path in (ROOT, CACHE.parent) if path.exists()}
        rooms = ", ".join(f"{path} has {room} MB left" for path, room in free.items())
        raise Failure(
            f"The disk is full: {rooms}. Make room for about 2 GB, or set XDG_CACHE_HOME to a folder on a larger disk, and run again."
        )
