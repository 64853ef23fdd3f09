"""Small packs and the modules in them, written by hand, so that each can be wrong in one way. Signed in Python: RFC 8032, 5.1.6."""

import hashlib
import json
from functools import cache

from pyruvllm.kernels import ed25519, keys, manifest, signature

SEED = bytes(range(32))
OTHER = bytes(range(1, 33))
MODULE = "convert.simd128.wasm"
I32, FUNCTION, TABLE, MEMORY, GLOBAL = 0x7F, 0, 1, 2, 3
CLAMP = (1 << 254) - 8


def leb(number: int) -> bytes:
    part = bytearray()
    while number > 127:
        part.append(number & 127 | 128)
        number >>= 7
    return bytes([*part, number])


def text(name: str) -> bytes:
    return leb(len(name.encode())) + name.encode()


def many(*items: bytes) -> bytes:
    return leb(len(items)) + b"".join(items)


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + leb(len(content)) + content


def imported(name: str, kind: int, *about: int, module: str = "env") -> bytes:
    return text(module) + text(name) + bytes([kind, *about])


def a_memory(pages: int = 0, flags: int = 0) -> bytes:
    return imported("memory", MEMORY, flags, *leb(pages), *([1] if flags else []))


TABLE_IMPORT = imported("__indirect_function_table", TABLE, 0x70, 0, 0)
MEMORY_BASE = imported("__memory_base", GLOBAL, I32, 0)  # global 0
TABLE_BASE = imported("__table_base", GLOBAL, I32, 0)  # global 1
STACK = imported("__stack_pointer", GLOBAL, I32, 1)
IMPORTS = (a_memory(), TABLE_IMPORT, MEMORY_BASE, TABLE_BASE, STACK)
TYPES = many(b"\x60\1\x7f\1\x7f", b"\x60\0\0")  # 0: takes and gives an i32; 1: neither


def module(
    exports: tuple[bytes, ...] = (),
    imports: tuple[bytes, ...] = IMPORTS,
    memory: int = 0,
    table: int = 0,
    align: int = 0,
    dylink: bytes = b"",
    early: bytes = b"",  # sections before the exports
    late: bytes = b"",  # sections between the exports and the code
    data: tuple[bytes, ...] = (),
) -> bytes:
    """A module whose kernel `widen` (function 0) does nothing and returns 0; function 1 takes and gives nothing."""
    needs = leb(memory) + leb(align) + leb(table) + leb(0)
    return b"".join(
        [
            b"\0asm\1\0\0\0",
            section(0, text("dylink.0") + b"\1" + leb(len(needs)) + needs + dylink),
            section(1, TYPES),
            section(2, many(*imports)),
            section(3, many(leb(0), leb(1))),
            early,
            section(7, many(text("widen") + b"\0\0", *exports)),
            late,
            section(10, many(b"\4\0\x41\0\x0b", b"\2\0\x0b")),
            section(11, many(*data)) if data else b"",
        ]
    )


def content(version: int = 1, modules: dict[str, bytes] | None = None, **changes) -> dict:
    """What a manifest says, before it is JSON."""
    modules = {MODULE: module()} if modules is None else modules
    entries = [
        {
            "file": name,
            "family": name.split(".")[0],
            "features": ["simd128"],
            "bytes": len(code),
            "sha256": hashlib.sha256(code).hexdigest(),
        }
        for name, code in modules.items()
    ]
    widen = {"family": "convert", "args": ["in x f16[n]", "out y f32[n]", "u32 n"]}
    return {"abi": manifest.ABI, "name": manifest.NAME, "version": version, "modules": entries, "operations": {"widen": widen}, **changes}


def files(version: int = 1, modules: dict[str, bytes] | None = None, seed: bytes = SEED, **changes) -> dict[str, bytes]:
    """A pack, signed."""
    modules = {MODULE: module()} if modules is None else modules
    described = json.dumps(content(version, modules, **changes), sort_keys=True).encode()
    return signed({**modules, manifest.FILE: described}, seed)


def signed(pack: dict[str, bytes], seed: bytes = SEED, claimed: bytes | None = None) -> dict[str, bytes]:
    """The same files with a signature; `claimed`: the seed of the key that is said to have made it."""
    made = signature.Signature(keys.key_id(public(claimed or seed)), sign(seed, pack[manifest.FILE]))
    return {**pack, signature.FILE: signature.written(made)}


def trusted(*seeds: bytes) -> dict[str, bytes]:
    return {keys.key_id(public(seed)): public(seed) for seed in seeds or (SEED,)}


@cache
def public(seed: bytes) -> bytes:
    return point(secret(seed)[0])


@cache
def sign(seed: bytes, message: bytes) -> bytes:
    scalar, prefix = secret(seed)
    nonce = number(hashlib.sha512(prefix + message).digest()) % ed25519.L
    first = point(nonce)
    challenge = number(hashlib.sha512(first + public(seed) + message).digest())
    return first + ((nonce + challenge * scalar) % ed25519.L).to_bytes(32, "little")


def secret(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    return number(digest[:32]) & CLAMP | 1 << 254, digest[32:]


def point(scalar: int) -> bytes:
    return ed25519.encoded(ed25519.combined(scalar, ed25519.BASE, 0, ed25519.BASE))


def number(digest: bytes) -> int:
    return int.from_bytes(digest, "little")
