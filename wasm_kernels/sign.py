"""Signs a pack that `build.py` made, and pins the public key that says so.

    python -m wasm_kernels.sign FOLDER KEYS_JSON

The signing key is never in the repository: PYRUVLLM_SIGNING_KEY names a file that holds it, as PEM (PKCS #8) or as 32 bytes in hex.
Without it a key is made for this build alone and forgotten, so that what was built is trusted by what was built with it.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pyruvllm.errors import PackError
from pyruvllm.kernels import keys, manifest, pack, signature

KEY = "PYRUVLLM_SIGNING_KEY"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("keys", type=Path)
    options = parser.parse_args()
    path = os.environ.get(KEY)
    try:
        signed = sign(options.folder, options.keys, read(Path(path)) if path else Ed25519PrivateKey.generate())
    except (OSError, ValueError, PackError) as error:
        sys.exit(f"{options.folder} was not signed: {error}")
    print(f"{options.folder}: version {signed.manifest.version}, signed by {signed.key} ({path or 'a key made for this build'})")


def sign(folder: Path, pinned: Path, key: Ed25519PrivateKey) -> pack.Pack:
    """Writes FOLDER/manifest.sig and the file of pinned keys, unless the whole would be refused where it is used."""
    public = key.public_key().public_bytes_raw()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    content = key.sign((folder / manifest.FILE).read_bytes())
    files[signature.FILE] = signature.written(signature.Signature(keys.key_id(public), content))
    trusted = keys.written([public])
    signed = asyncio.run(pack.verify(files, keys=keys.read(trusted)))
    (folder / signature.FILE).write_bytes(files[signature.FILE])
    pinned.write_bytes(trusted)
    return signed


def read(path: Path) -> Ed25519PrivateKey:
    """Raises ValueError where the file holds no such key; what it holds is never part of the message."""
    content = path.read_bytes()
    if b"-----BEGIN" in content:
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{KEY}: {path} holds no Ed25519 key that can be read without a password")
        return key
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content.decode("ascii").strip()))
    except ValueError:
        raise ValueError(f"{KEY}: {path} is neither PEM nor a seed of 32 bytes in hex") from None


if __name__ == "__main__":
    main()
