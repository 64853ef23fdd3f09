"""What a pack of kernels says of itself: the bytes that are signed.

JSON, keys sorted, no spaces, so that equal content is equal bytes:

    abi         the binary interface its modules were compiled for
    name        of the pack
    version     a whole number that grows with every release; an older one never replaces a newer one
    modules     per file: its name, family, the WASM features it needs, its length in bytes and its SHA-256 (hex)
    operations  per name: the family, and the declaration (operation.py)
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import KernelError, PackError
from .operation import Operation

FILE = "manifest.json"
ABI = 1
NAME = "core"
VERSION = 1


@dataclass(frozen=True)
class ModuleEntry:
    file: str
    family: str
    features: tuple[str, ...]
    bytes: int
    sha256: str  # hex


@dataclass(frozen=True)
class Manifest:
    abi: int
    name: str
    version: int
    modules: tuple[ModuleEntry, ...]
    operations: Mapping[str, Operation]


def written(operations: Sequence[Operation], modules: Sequence[Path], features: Mapping[str, Sequence[str]]) -> bytes:
    """The manifest of modules FAMILY.VARIANT.wasm; features: by variant."""
    entries = []
    for path in modules:
        family, variant, _ = path.name.split(".")
        content = path.read_bytes()
        entries.append(ModuleEntry(path.name, family, tuple(features[variant]), len(content), hashlib.sha256(content).hexdigest()))
    declared = {
        each.name: {
            "family": each.family,
            "args": each.lines,
            "where": [condition.text for condition in each.conditions],
            "kernels": each.kernels,
            "shape": each.shape,
            "doc": each.doc,
        }
        for each in operations
    }
    content = {"abi": ABI, "name": NAME, "version": VERSION, "modules": [asdict(each) for each in entries], "operations": declared}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def read(content: bytes) -> Manifest:
    """The inverse of ``written``. Raises PackError, naming the field that cannot be read.

    The ABI is looked at first: another one may describe its operations in other ways.
    """
    field = "JSON"
    try:
        given = json.loads(content)
        field = "abi, name and version"
        abi, name, version = given["abi"], given["name"], given["version"]
        if type(abi) is not int or type(name) is not str or type(version) is not int or version < 1:
            raise ValueError(f"{abi!r}, {name!r}, {version!r}")
        if abi != ABI:
            raise PackError(f"ABI: it was compiled for version {abi}, this is version {ABI}")
        field = "modules"
        modules = tuple(module(each) for each in given["modules"])
        field = "operations"
        operations = {}
        for name_, each in given["operations"].items():
            field = f"operation {name_}"
            operations[name_] = Operation(name_, **each)
            names = (name_, operations[name_].family, *operations[name_].kernels)
            if not all(text.isidentifier() for text in names):
                raise ValueError(f"{names} are not all identifiers")
    except PackError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError, KernelError) as error:
        raise PackError(f"manifest: {FILE} cannot be read at {field}: {error!r}") from None
    return Manifest(abi, name, version, modules, operations)


def module(given: Mapping) -> ModuleEntry:
    entry = ModuleEntry(given["file"], given["family"], tuple(given["features"]), given["bytes"], given["sha256"])
    texts = (entry.file, entry.family, entry.sha256, *entry.features)
    if set(given) != set(ModuleEntry.__dataclass_fields__) or not all(type(text) is str for text in texts) or type(entry.bytes) is not int:
        raise ValueError(f"{given!r} describes no module")
    return entry
