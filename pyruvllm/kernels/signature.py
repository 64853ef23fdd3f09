"""manifest.sig: who signed a pack's manifest, and that they did.

JSON: ``algorithm`` "ed25519", ``key`` the id of the signer's key, ``signature`` of the manifest's bytes in base64.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .. import host
from ..errors import PackError
from . import ed25519

FILE = "manifest.sig"
ALGORITHM = "ed25519"
# A pattern and no parser: JSON that is nested deeply enough ends Pyodide for good, and this is read before anything is trusted.
_WRITTEN = re.compile(rb'\{"algorithm": "ed25519", "key": "([0-9a-f]{16})", "signature": "([A-Za-z0-9+/]{86}==)"\}\n')


@dataclass(frozen=True)
class Signature:
    key: str  # id
    content: bytes  # 64 bytes


def written(signature: Signature) -> bytes:
    content = base64.b64encode(signature.content).decode()
    return json.dumps({"algorithm": ALGORITHM, "key": signature.key, "signature": content}, sort_keys=True).encode() + b"\n"


def read(content: bytes) -> Signature:
    """The inverse of ``written``, of those bytes and no others: nothing here is trusted yet. Raises PackError."""
    found = _WRITTEN.fullmatch(content)
    if found:
        signature = Signature(found[1].decode(), base64.b64decode(found[2]))
        if written(signature) == content:  # base64 alone has several ways to end
            return signature
    raise PackError(f"signature: {FILE} is no {ALGORITHM} signature of 64 bytes with the id of its key, as sign.py writes it")


async def check(message: bytes, signature: Signature, keys: Mapping[str, bytes]) -> None:
    """Raises PackError unless one of these keys signed the message."""
    public = keys.get(signature.key)
    if public is None:
        known = ", ".join(sorted(keys)) or "none"
        raise PackError(f"signature: it is by the key {signature.key[:40]!r}, which this installation does not trust (it trusts {known})")
    if not await verified(public, signature.content, message):
        raise PackError(f"signature: it does not fit; the manifest was altered, or signed by another key than {signature.key}")


async def verified(public: bytes, signature: bytes, message: bytes) -> bool:
    """By the host's own cryptography, and where it has none in Python."""
    if not ed25519.sound(public, signature):
        return False
    answer = await host.current().verify_ed25519(public, signature, message)
    return ed25519.verify(public, signature, message) if answer is None else answer
