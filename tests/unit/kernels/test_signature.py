"""The ways to verify, natively; what signs the packs of these tests beside the package cryptography; and the signing of builds."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pyruvllm import host
from pyruvllm.errors import PackError
from pyruvllm.kernels import keys, manifest, pack, signature
from tests.contracts import signature as contracts
from tests.generators import packs
from wasm_kernels import sign

ROOT = Path(__file__).resolve().parents[3]


class TestInPython(contracts.PythonContract):
    pass


class TestByCryptography(contracts.HostContract):
    pass


class TestChosen(contracts.ChosenContract):
    pass


class TestFallback(contracts.FallbackContract):
    pass


class TestFiles(contracts.FilesContract):
    pass


@contracts.each_vector
def test_the_signer_of_these_tests_signs_as_the_rfc_does(vector):
    seed, public, message, made = vector
    assert (packs.public(seed), packs.sign(seed, message)) == (public, made)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert (key.public_key().public_bytes_raw(), key.sign(message)) == (public, made)


async def test_the_vectors_of_the_rfc_by_hosts_without_cryptography(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    _, public, message, made = contracts.VECTORS["empty"]
    assert await host.current().verify_ed25519(public, made, message) is None
    assert await signature.verified(public, made, message) is True


@pytest.fixture
def folder(tmp_path):
    """What the build leaves: a pack without a signature."""
    folder = tmp_path / "core"
    folder.mkdir()
    for name, content in packs.files().items():
        if name != signature.FILE:
            (folder / name).write_bytes(content)
    return folder


def run(folder, **environment):
    given = {**{name: value for name, value in os.environ.items() if name != sign.KEY}, **environment}
    command = [sys.executable, "-m", "wasm_kernels.sign", str(folder), str(folder.parent / "keys.json")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=given)


def verified(folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return asyncio.run(pack.verify(files, keys=keys.read((folder.parent / "keys.json").read_bytes())))


def test_without_a_key_every_build_has_its_own(folder):
    assert run(folder).returncode == 0
    first = verified(folder).key
    assert run(folder).returncode == 0
    assert verified(folder).key != first
    assert sorted(path.name for path in folder.parent.rglob("*") if path.is_file()) == sorted(["keys.json", *packs.files()])


def as_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


KEY = Ed25519PrivateKey.from_private_bytes(packs.SEED)


@pytest.mark.parametrize("content", [as_pem(KEY), packs.SEED.hex().encode(), packs.SEED.hex().encode() + b"\n"], ids=["PEM", "hex", "line"])
def test_the_given_key_signs(folder, tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    done = run(folder, **{sign.KEY: str(tmp_path / "key")})
    assert done.returncode == 0, done.stderr
    assert verified(folder).key == keys.key_id(packs.public(packs.SEED))
    assert packs.SEED.hex() not in done.stdout + done.stderr


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"\xff" * 32, as_pem(X25519PrivateKey.generate()), b"-----BEGIN no"], ids=range(5))
def test_a_file_that_holds_no_key_is_refused_and_not_shown(folder, tmp_path, monkeypatch, capsys, content):
    (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv(sign.KEY, str(tmp_path / "key"))
    monkeypatch.setattr(sys, "argv", ["sign", str(folder), str(folder.parent / "keys.json")])
    with pytest.raises(SystemExit) as ended:  # what it ends with is shown, and the exit status is 1
        sign.main()
    assert sign.KEY in ended.value.code
    assert not content or content.decode("latin1") not in ended.value.code + "".join(capsys.readouterr())
    assert not (folder / signature.FILE).exists()


def test_a_missing_key_file_is_no_reason_to_make_one(folder, tmp_path):
    done = run(folder, **{sign.KEY: str(tmp_path / "none")})
    assert done.returncode and "none" in done.stderr and not (folder / signature.FILE).exists()


def test_what_would_be_refused_is_not_signed(folder):
    (folder / "left.simd128.wasm").write_bytes(b"")
    with pytest.raises(PackError, match="left.simd128.wasm is not listed"):
        sign.sign(folder, folder.parent / "keys.json", KEY)
    assert not (folder / signature.FILE).exists() and not (folder.parent / "keys.json").exists()
    (folder / "left.simd128.wasm").unlink()
    (folder / manifest.FILE).unlink()
    assert run(folder).returncode
