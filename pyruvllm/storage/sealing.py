"""Records and keys of a sealed memory, natively; ``docs/sealing.md`` is the format, ``web/src/bridge`` its other implementation.

A sealed record is AES-256-GCM: nonce (12 random bytes), ciphertext, tag (16 bytes). Authenticated with it: the label (3 float64: kind and
two numbers) and the id of the database (16 bytes), so that a record is accepted in its own place of its own database only.

A keys record is SHA-256 of the rest (32 bytes), proof (60 bytes: the SHA-256 of the JSON, sealed under the data key), JSON. The checksum
tells damage from a wrong passphrase, the proof tells that whoever wrote the JSON had the data key.
"""

import hashlib
import json
import os
import re
import struct
import unicodedata
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

from ..errors import CorruptError, HostError, LockedError, NewerError, PassphraseError, StorageError, TamperedError
from .devicekey import device_key, existing_device_key
from .secret import Protection, Secret

HEAD, MANIFEST, LOG, EXTENT, KEYS = range(1, 6)
KINDS = ("", "head", "manifest", "log", "extent", "keys")
ROUNDS = 600_000  # of PBKDF2-SHA256
ROUNDS_ACCEPTED = range(100_000, 10_000_001)  # in a file from elsewhere: neither weak nor endless
FORMAT = 1  # of the keys
NONCE, TAG, DIGEST, PROOF = 12, 16, 32, 60  # bytes

Label = tuple[int, int, int]


class Sealer:
    """Seals and opens the records of one database under its data key (32 bytes)."""

    def __init__(self, key: bytes, database: bytes):
        self._cipher = ciphers().AESGCM(key)
        self._database = database

    def seal(self, label: Label, body: bytes | bytearray) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, body, self._about(label))

    def unseal(self, label: Label, record: Any) -> bytes:
        """TamperedError unless it is what was sealed under that label."""
        what = f"{KINDS[label[0]]} {label[1]}/{label[2]}"
        if not isinstance(record, bytes) or len(record) < NONCE + TAG:
            raise TamperedError(f"the sealed record {what!r} is missing or cut off; nothing was overwritten")
        try:
            return self._cipher.decrypt(record[:NONCE], memoryview(record)[NONCE:], self._about(label))
        except ciphers().InvalidTag:
            raise TamperedError(f"the sealed record {what!r} was altered, or another lies in its place; nothing was overwritten") from None

    def _about(self, label: Label) -> bytes:
        return struct.pack("<3d", *label) + self._database


@dataclass(frozen=True)
class Keys:
    """The opened keys of a sealed memory."""

    record: bytes
    body: dict[str, Any]
    sealer: Sealer

    @property
    def generation(self) -> int:
        """Counts changes of the keys; the head has it too, so that older keys put back are found."""
        return self.body["generation"]

    @property
    def protection(self) -> Protection:
        return described(self.body)

    @classmethod
    def made(cls, secret: Secret) -> "Keys":
        """Keys of a new database."""
        return wrapped(os.urandom(32), os.urandom(16).hex(), 1, secret)

    @classmethod
    def opened(cls, name: str, record: Any, secret: Secret) -> "Keys":
        """LockedError without a secret that could open them, PassphraseError, CorruptError, TamperedError."""
        body, text, proof = parsed(record)
        sealer = Sealer(unwrapped(name, body, secret), bytes.fromhex(body["database"]))
        if sealer.unseal((KEYS, body["generation"], 0), proof) != hashlib.sha256(text).digest():
            raise TamperedError(f"the keys of {name!r} were altered; nothing was overwritten")
        return cls(record, body, sealer)

    def rewrapped(self, name: str, current: Secret, new: Secret) -> "Keys":
        """The same data key, opened by ``new`` from now on; ``current`` must open it."""
        return wrapped(unwrapped(name, self.body, current), self.body["database"], self.generation + 1, new)


def protection_in(record: Any) -> Protection:
    """What opens the memory with this keys record; nothing is unlocked."""
    return described(parsed(record)[0])


def described(body: dict[str, Any]) -> Protection:
    device, own = body["device"], existing_device_key()
    return Protection(body["passphrase"] is not None, device is not None, device is not None and own is not None and device["id"] == own.id)


def wrapped(key: bytes, database: str, generation: int, secret: Secret) -> Keys:
    if not secret.given:
        raise StorageError("a sealed memory needs a passphrase or a device key to be opened with")
    body: dict[str, Any] = {"format": FORMAT, "database": database, "generation": generation, "passphrase": None, "device": None}
    if secret.passphrase is not None:
        salt = os.urandom(16)
        by = derived(secret.passphrase, salt, ROUNDS)
        body["passphrase"] = {"salt": salt.hex(), "rounds": ROUNDS, "key": ciphers().aes_key_wrap(by, key).hex()}
    if secret.device_key:
        own = device_key()
        body["device"] = {"id": own.id, "key": ciphers().aes_key_wrap(own.key, key).hex()}
    text = json.dumps(body).encode()
    sealer = Sealer(key, bytes.fromhex(database))
    rest = sealer.seal((KEYS, generation, 0), hashlib.sha256(text).digest()) + text
    return Keys(hashlib.sha256(rest).digest() + rest, body, sealer)


def unwrapped(name: str, body: dict[str, Any], secret: Secret) -> bytes:
    """The data key."""
    if secret.passphrase is not None:
        by = body["passphrase"]
        if by is None:
            raise LockedError(f"{name!r} has no passphrase: it opens with the key of the device it was made on")
        key = unwrap(by["key"], derived(secret.passphrase, bytes.fromhex(by["salt"]), by["rounds"]))
        if key is None:
            raise PassphraseError(f"the passphrase of {name!r} is another one (or its stored key was altered); nothing was changed")
        return key
    own = existing_device_key()
    if secret.device_key is not False and own is not None and body["device"] is not None and body["device"]["id"] == own.id:
        key = unwrap(body["device"]["key"], own.key)
        if key is None:
            raise TamperedError(f"the stored key of {name!r} was altered: this device's key does not open it; nothing was changed")
        return key
    how = "its passphrase opens it" if body["passphrase"] else "the key of the device it was made on opens it, which is not here"
    raise LockedError(f"{name!r} is sealed: {how}")


def unwrap(key: str, by: bytes) -> bytes | None:
    try:
        return ciphers().aes_key_unwrap(by, bytes.fromhex(key))
    except ciphers().InvalidUnwrap:
        return None


def derived(passphrase: str, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", unicodedata.normalize("NFC", passphrase).encode(), salt, rounds)


def parsed(record: Any) -> tuple[dict[str, Any], bytes, bytes]:
    """The JSON of a keys record, its bytes, its proof. CorruptError, NewerError."""

    def damaged(how: str) -> CorruptError:
        return CorruptError(f"the stored keys {how}; nothing was overwritten")

    if not isinstance(record, bytes) or len(record) <= DIGEST + PROOF:
        raise damaged("are missing or cut off")
    if hashlib.sha256(record[DIGEST:]).digest() != record[:DIGEST]:
        raise damaged("are damaged: their checksum is wrong")
    text = record[DIGEST + PROOF :]
    try:
        body = json.loads(text)
        newer, sound = body["format"] > FORMAT, is_sound(body)
    except (ValueError, KeyError, TypeError):
        raise damaged("cannot be read") from None
    if newer:
        raise NewerError(f"the stored keys have format {body['format']}, this version reads {FORMAT}; nothing was changed")
    if not sound:
        raise damaged("have a form that cannot be")
    return body, text, record[DIGEST : DIGEST + PROOF]


def is_sound(body: dict[str, Any]) -> bool:
    passphrase, device = body["passphrase"], body["device"]
    wraps = [entry["key"] for entry in (passphrase, device) if entry is not None]
    return (
        body["format"] == FORMAT
        and type(body["generation"]) is int
        and is_hex(body["database"], 16)
        and bool(wraps)
        and all(is_hex(key, 40) for key in wraps)
        and (passphrase is None or (is_hex(passphrase["salt"], 16) and passphrase["rounds"] in ROUNDS_ACCEPTED))
        and (device is None or isinstance(device["id"], str))
    )


def is_hex(text: Any, size: int) -> bool:
    return isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text) is not None


@cache
def ciphers() -> SimpleNamespace:
    """What is used of the package cryptography; HostError where it is not installed."""
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
    except ImportError:
        raise HostError("a sealed memory needs the package cryptography: pip install 'pyruvllm[native]'") from None
    return SimpleNamespace(
        AESGCM=AESGCM, InvalidTag=InvalidTag, InvalidUnwrap=InvalidUnwrap, aes_key_wrap=aes_key_wrap, aes_key_unwrap=aes_key_unwrap
    )
