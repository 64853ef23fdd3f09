"""A pack of kernels: a signed manifest and the modules it lists. Verified wholly before anything of it is compiled.

manifest.json   what the pack holds (manifest.py)
manifest.sig    who says so (signature.py)
*.wasm          the modules, each with the length and the SHA-256 that the manifest gives
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources

from ..errors import PackError
from . import manifest, module, signature
from .manifest import Manifest
from .module import Limits

LIMITS = Limits()
FEATURES = {"simd128", "relaxed-simd"}
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,99}")
_MODULE = re.compile(r"([a-z0-9_]+)\.[a-z0-9_]+\.wasm")  # FAMILY.VARIANT.wasm


@dataclass(frozen=True)
class Pack:
    """One that was verified."""

    manifest: Manifest
    files: Mapping[str, bytes]  # all of them, by name
    key: str  # id of the key that signed it


async def verify(
    files: Mapping[str, bytes], *, keys: Mapping[str, bytes], newest: int = 0, limits: Limits = LIMITS, name: str = manifest.NAME
) -> Pack:
    """The pack that these files are, checked in the order below.

    keys: trusted public keys by id; newest: the lowest version that is accepted. Raises PackError, which names the check that failed:
    size, file names, files, signature, manifest, ABI, name, version, length, SHA-256, module.
    """
    try:
        files = sized(files, limits)
        for needed, what in ((manifest.FILE, "files"), (signature.FILE, "signature: the pack is unsigned")):
            if needed not in files:
                raise PackError(f"{what}: {needed} is missing")
        signed = signature.read(files[signature.FILE])
        await signature.check(files[manifest.FILE], signed, keys)
        described = manifest.read(files[manifest.FILE])
        check_release(described, newest, name)
        check_files(described, files)
        check_modules(described, files, limits)
    except PackError as error:
        raise PackError(f"the pack of kernels is refused. {error}") from None
    return Pack(described, files, signed.key)


def sized(files: Mapping[str, bytes], limits: Limits) -> dict[str, bytes]:
    """The same files, in a dict that is nobody else's."""
    files = dict(files)
    if len(files) > limits.files:
        raise PackError(f"size: it has {len(files)} files, the limit is {limits.files}")
    for name, content in files.items():
        if type(name) is not str or not _PLAIN.fullmatch(name) or ".." in name:
            raise PackError(f"file names: {name!r:.120} is no plain file name of a-z, 0-9, _ . and -")
        if type(content) is not bytes:
            raise PackError(f"file names: {name} is {type(content).__name__}, not bytes")
    total = sum(map(len, files.values()))
    if total > limits.bytes:
        raise PackError(f"size: it has {total} bytes, the limit is {limits.bytes}")
    if len(files.get(manifest.FILE, b"")) > limits.manifest:
        raise PackError(f"size: {manifest.FILE} has {len(files[manifest.FILE])} bytes, the limit is {limits.manifest}")
    return files


def check_release(described: Manifest, newest: int, name: str) -> None:
    if described.name != name:
        raise PackError(f"name: it is {described.name!r:.80}, wanted is {name!r}")
    if described.version < newest:
        raise PackError(f"version: it is {described.version}, older than {newest}, which is here already")


def check_files(described: Manifest, files: Mapping[str, bytes]) -> None:
    listed = {each.file: each for each in described.modules}
    if len(listed) != len(described.modules):
        raise PackError("manifest: it lists a file twice")
    for file, entry in listed.items():
        named = _MODULE.fullmatch(file)
        if not named or named[1] != entry.family or not set(entry.features) <= FEATURES:
            raise PackError(f"manifest: {file!r:.80} is no module of family {entry.family!r:.80} that needs some of {sorted(FEATURES)}")
        if file not in files:
            raise PackError(f"files: {file} is missing")
    if extra := set(files) - set(listed) - {manifest.FILE, signature.FILE}:
        raise PackError(f"files: {', '.join(sorted(extra))} is not listed in the manifest")
    for file, entry in listed.items():
        if len(files[file]) != entry.bytes:
            raise PackError(f"length: {file} has {len(files[file])} bytes, the manifest says {entry.bytes}")
        if hashlib.sha256(files[file]).hexdigest() != entry.sha256:
            raise PackError(f"SHA-256: {file} was altered; it is not what the manifest says")


def check_modules(described: Manifest, files: Mapping[str, bytes], limits: Limits) -> None:
    """The limits on memory and tables hold for all modules together: each gets what is left of them."""
    kernels: dict[str, set[str]] = {each.family: set() for each in described.modules}
    for operation in described.operations.values():
        if operation.family not in kernels:
            raise PackError(f"manifest: {operation.name} is of family {operation.family!r:.80}, which has no module")
        kernels[operation.family].update(operation.kernels)
    left = limits
    for entry in described.modules:
        try:
            needs = module.check(files[entry.file], kernels[entry.family], left)
        except PackError as error:
            raise PackError(f"module: {entry.file} cannot be taken: {error}") from None
        left = replace(left, memory=left.memory - needs.memory, table=left.table - needs.table)


def bundled(name: str = manifest.NAME) -> dict[str, bytes]:
    """The files that this installation carries, not yet verified. Raises PackError where they were not built."""
    try:
        folder = resources.files(__package__) / "packs" / name
        found = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    except OSError:
        found = {}
    if not found:
        raise PackError("this installation has no compiled kernels: they were not built; `./build.sh test` builds them")
    return found


def declared(name: str = manifest.NAME) -> Manifest:
    """The operations that this installation declares, and no modules: what the twins in numpy need where no pack can be used.

    It is not verified: nothing of it is compiled, and it lies beside the Python that reads it.
    """
    files = bundled(name)
    if manifest.FILE not in files:
        raise PackError(f"this installation has no {manifest.FILE} for its kernels; `./build.sh test` builds it")
    return replace(manifest.read(files[manifest.FILE]), modules=())
