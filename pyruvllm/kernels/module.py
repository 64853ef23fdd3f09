"""What a module of a pack may be, decided before anything is compiled: code that works in memory it is given, and nothing else.

A module imports nothing but the five names that place it, runs nothing by being loaded, brings no memory and no table of its own, and
writes its static data only where its loader puts it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from ..errors import PackError
from . import wasm

PAGE = 65536
IMPORTS = {  # of module "env": (kind, type)
    "memory": ("memory", ""),
    "__indirect_function_table": ("table", "funcref"),
    "__memory_base": ("global", "i32"),
    "__table_base": ("global", "i32"),
    "__stack_pointer": ("global", "var i32"),
}
LOADER = {"__wasm_apply_data_relocs", "__wasm_call_ctors"}  # run by the loader: they write addresses into the static data
KERNEL = (("i32",), ("i32",))  # its parameters and results
NOTHING = ((), ())
ALIGN = 6  # 2**6 bytes: what both loaders keep
NO_SECTION = {wasm.TABLE: "a table of its own", wasm.MEMORY: "a memory of its own", wasm.START: "a start function"}


@dataclass(frozen=True)
class Limits:
    """What a pack may be at most, all its files together."""

    files: int = 256
    bytes: int = 16 << 20
    manifest: int = 1 << 20  # bytes, before anything in it is believed
    memory: int = 8 << 20  # bytes of static data
    table: int = 4096  # entries of the function table


def check(content: bytes, kernels: Collection[str], limits: Limits) -> wasm.Dynamic:
    """What it asks of its loader. Raises PackError, saying what is wrong with it."""
    module = wasm.read(content)
    for section, what in NO_SECTION.items():
        if section in module.sections:
            raise PackError(f"it has {what}, which no kernel needs")
    check_needs(module.dynamic, limits)
    check_imports(module, limits)
    check_exports(module, kernels)
    check_segments(module)
    return module.dynamic


def check_needs(needs: wasm.Dynamic, limits: Limits) -> None:
    if needs.others:
        raise PackError(f"its dylink.0 section has parts of kinds {list(needs.others)}; only one of kind 1 is taken, it needs no libraries")
    if needs.memory > limits.memory:
        raise PackError(f"its {needs.memory} bytes of static memory are more than the limit of {limits.memory}")
    if needs.table > limits.table:
        raise PackError(f"its {needs.table} table entries are more than the limit of {limits.table}")
    if needs.memory_align > ALIGN or needs.table_align:
        raise PackError(f"it asks for 2^{needs.memory_align} bytes and 2^{needs.table_align} entries of alignment; 2^{ALIGN}, 1 are given")


def check_imports(module: wasm.Module, limits: Limits) -> None:
    seen = set()
    for each in module.imports:
        name = f"{each.module}.{each.name}"[:80]
        if each.module != "env" or each.name not in IMPORTS:
            raise PackError(f"it imports {name!r}; only {', '.join(IMPORTS)} of env may be imported")
        if (each.kind, each.type) != IMPORTS[each.name] or name in seen:
            raise PackError(f"it imports {name} as {each.kind} {each.type}, or twice; it is {' '.join(IMPORTS[each.name]).strip()}, once")
        if each.kind == "memory" and each.minimum * PAGE > limits.memory:
            raise PackError(f"it imports a memory of at least {each.minimum * PAGE} bytes, more than the limit of {limits.memory}")
        if each.kind == "table" and each.minimum > limits.table:
            raise PackError(f"it imports a table of at least {each.minimum} entries, more than the limit of {limits.table}")
        seen.add(name)


def check_exports(module: wasm.Module, kernels: Collection[str]) -> None:
    for name in kernels:
        if name not in module.exports:
            raise PackError(f"it does not export {name}, which the manifest lists")
    for name in module.exports:
        # Emscripten's loader gives names with underscores meanings, some of which run JavaScript that the module carries.
        if not name.isidentifier() or (name.startswith("_") and name not in LOADER):
            raise PackError(f"it exports {name[:80]!r}; names of kernels are identifiers that begin with a letter")
        wanted, what = (NOTHING, "nothing") if name in LOADER else (KERNEL, "an i32")
        if module.signature(name) != wanted:
            raise PackError(f"it exports {name} as something else than a function that takes and gives {what}")


def check_segments(module: wasm.Module) -> None:
    bases = [each.name for each in module.imports if each.kind == "global"]
    for segments, base, room in (
        (module.data, "__memory_base", module.dynamic.memory),
        (module.elements, "__table_base", module.dynamic.table),
    ):
        for each in segments:
            if not each.base < len(bases) or bases[each.base] != base:
                raise PackError(f"it has a segment that begins elsewhere than at {base}")
            if each.size > room:
                raise PackError(f"it has a segment of {each.size} at {base}, where it asks for {room}")
