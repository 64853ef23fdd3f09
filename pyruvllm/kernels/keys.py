"""The keys whose signatures are trusted: pinned in the wheel beside the packs, as JSON of key id -> public key (hex)."""

import hashlib
import json
from collections.abc import Iterable
from importlib import resources

from ..errors import PackError
from . import ed25519

FILE = "keys.json"


def key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


def written(keys: Iterable[bytes]) -> bytes:
    return json.dumps({key_id(public): public.hex() for public in keys}, sort_keys=True, indent=1).encode() + b"\n"


def read(content: bytes) -> dict[str, bytes]:
    """The inverse of ``written``: public keys (32 bytes) by id. Raises PackError."""
    try:
        found = {name: bytes.fromhex(public) for name, public in json.loads(content).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PackError(f"the pinned keys cannot be read: {error!r}") from None
    for name, public in found.items():
        if key_id(public) != name:
            raise PackError(f"the pinned key {name[:40]!r} has the id {key_id(public)}")
        point = ed25519.decoded(public) if len(public) == 32 else None
        if point is None or ed25519.encoded(ed25519.combined(8, point, 0, point)) == ed25519.encoded(ed25519.NEUTRAL):
            raise PackError(f"the pinned key {name} is no Ed25519 key that signs anything")
    return found


def pinned() -> dict[str, bytes]:
    """Those of this installation. Raises PackError where the kernels were not built."""
    try:
        content = (resources.files(__package__) / "packs" / FILE).read_bytes()
    except OSError:
        raise PackError("this installation pins no keys: its kernels were not built; `./build.sh test` builds them") from None
    return read(content)
