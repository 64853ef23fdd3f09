"""manifest.sig: who signed a pack's manifest, and that they did.

JSON: ``algorithm`` "ed25519", ``key`` the id of the signer's key, ``signature`` of the manifest's bytes in base64.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from .. import host
from ..errors import PackError
from . import ed25519

FILE = "manifest.sig"
ALGORITHM = "ed25519"
LARGEST = 1024  # bytes of the file: it is read before anything is trusted


@dataclass(frozen=True)
class Signature:
    key: str  # id
    content: bytes  # 64 bytes


def written(signature: Signature) -> bytes:
    content = base64.b64encode(signature.content).decode()
    return json.dumps({"algorithm": ALGORITHM, "key": signature.key, "signature": content}, sort_keys=True).encode() + b"\n"


def read(content: bytes) -> Signature:
    """The inverse of ``written``. Raises PackError."""
    if len(content) > LARGEST:
        raise PackError(f"signature: {FILE} has {len(content)} bytes; {LARGEST} are more than enough")
    try:
        given = json.loads(content)
        algorithm, key, text = given["algorithm"], given["key"], given["signature"]
        signature = base64.b64decode(text, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PackError(f"signature: {FILE} cannot be read: {error!r}") from None
    if algorithm != ALGORITHM or type(key) is not str or len(signature) != 64:
        raise PackError(f"signature: {FILE} is no {ALGORITHM} signature of 64 bytes with the id of its key")
    found = Signature(key, signature)
    if written(found) != content:  # one signature, one file: base64 alone has several ways to end
        raise PackError(f"signature: {FILE} is not written as it is made")
    return found


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
