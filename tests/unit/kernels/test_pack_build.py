"""Equal sources make equal bytes, wherever they lie, and what is made is a pack that would be taken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wasm_kernels import build, declare, sign

ROOT = Path(__file__).resolve().parents[3]
FAMILIES = ["convert", "distance", "replay"]  # with tails, with headers of their own, with calls through the table


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    build.build(folder, FAMILIES)
    return folder


def test_a_second_build_is_the_same(built, tmp_path):
    build.build(tmp_path / "another folder", FAMILIES)
    assert content(tmp_path / "another folder") == content(built)


def test_a_build_of_other_copies_of_the_sources_is_the_same(built, tmp_path):
    copy = tmp_path / "a longer path to the same sources"
    for name in ("wasm_kernels", "pyruvllm", "hnsw_pure"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "packs"))
    command = [sys.executable, "-m", "wasm_kernels.build", str(tmp_path / "out"), *FAMILIES]  # of the folder it runs in
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "out") == content(built)


def test_no_path_of_this_machine_is_in_it(built):
    for name, found in content(built).items():
        assert not any(str(part).encode() in found for part in (ROOT, Path.home() / ".cache", "/tmp/")), name


def test_what_was_built_is_taken(built, tmp_path):
    folder = shutil.copytree(built, tmp_path / "core")
    signed = sign.sign(folder, tmp_path / "keys.json", Ed25519PrivateKey.generate())
    assert {each.family for each in signed.manifest.modules} == set(FAMILIES) <= set(declare.families())
    assert all(set(operation.kernels) for operation in signed.manifest.operations.values())
