"""Reads the declarations of a family (FAMILY.toml) and makes its C header of them."""

import tomllib
from pathlib import Path

from pyruvllm.kernels.operation import Operand, Operation

FAMILY = Path(__file__).parent


def families() -> list[str]:
    return sorted(path.stem for path in FAMILY.glob("*.toml"))


def operations(family: str) -> list[Operation]:
    """What FAMILY.toml declares: a table per operation with `doc`, `args` and, where needed, `where`, `kernels` and `shape`."""
    tables = tomllib.loads((FAMILY / f"{family}.toml").read_text())
    return [Operation(name, family, **table) for name, table in tables.items()]


def header(declared: list[Operation]) -> str:
    """The structs and checks of these operations, in C."""
    lines = ["// Made from the .toml of the same name by the build.", "#pragma once", '#include "abi.h"', ""]
    for operation in declared:
        lines += [*structure(operation), "", *check(operation), ""]
    return "\n".join(lines)


def structure(operation: Operation) -> list[str]:
    fields = [f"  {'span' if isinstance(each, Operand) else each.kind} {each.name};" for each in operation.arguments.values()]
    positions = [f"ARG_{operation.name}_{name} = {position}" for position, name in enumerate(operation.arguments)]
    return [
        "typedef struct {",
        *fields,
        f"}} {operation.name}_args;",
        f'_Static_assert(sizeof({operation.name}_args) == {operation.size}, "no padding");',
        f"enum {{ {', '.join(positions)} }};",
    ]


def check(operation: Operation) -> list[str]:
    lines = [f"static inline i32 {operation.name}_check(const {operation.name}_args *a) {{"]
    for position, condition in enumerate(operation.conditions):
        lines.append(f"  if (!{condition.c}) return FAIL(CONDITION, {position});")
    for position, argument in enumerate(operation.arguments.values()):
        if not isinstance(argument, Operand):
            continue
        needed = f"{argument.dtype.itemsize}ull"
        for extent in argument.extents:
            needed = f"times({needed}, {extent.c})"
        if argument.optional:
            needed = f"a->{argument.name}.at ? {needed} : 0"
        lines.append(f"  const u64 {argument.name}_bytes = {needed};")
        lines.append(f"  if (a->{argument.name}.bytes < {argument.name}_bytes) return FAIL(SIZE, {position});")
        if argument.dtype.itemsize > 1:
            lines.append(f"  if (a->{argument.name}.at % {argument.dtype.itemsize}) return FAIL(ALIGN, {position});")
    positions = {name: position for position, name in enumerate(operation.arguments)}
    for x, y in operation.apart:
        lines.append(f"  if (overlap(a->{x}, {x}_bytes, a->{y}, {y}_bytes)) return FAIL(OVERLAP, {positions[x]});")
    return [*lines, "  return 0;", "}"]
