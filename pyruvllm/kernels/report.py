"""What a registry decided, for a person and for a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import OperandError
from .library import Library
from .operation import Operation

if TYPE_CHECKING:
    from .place import Place

_PART = re.compile(r"(\w+)=(\d+)")


def numbers_of(shape_class: str) -> dict[str, int]:
    """The numbers of "n=64 dim=1024". OperandError."""
    parts = [_PART.fullmatch(part) for part in shape_class.split()] if isinstance(shape_class, str) else [None]
    if None in parts:
        raise OperandError(f"a shape class is written like 'n=64 dim=1024', not {shape_class!r}")
    return {part[1]: int(part[2]) for part in parts}


def of_operation(name: str, places: Sequence[Place], library: Library) -> str:
    if places:
        return "\n".join(of_place(place, library) for place in places)
    candidates = ", ".join(library.names(name))
    return "\n".join([f"{name}: not used yet; there are {candidates}", *_lacking(name, library)])


def of_place(place: Place, library: Library) -> str:
    selector, name = place.selector, place.operation.name
    head = f"{name}, {place.label}: " if place.label else f"{name}: "
    if selector.serves is None:
        head += "being tried"
    else:
        since = datetime.fromtimestamp(selector.since / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        head += f"{selector.serves} serves since {since}, {_count(selector.uses, 'use')}"
    rows = [
        (each, _latency(tally.latency), _count(len(tally.recent), "sample"), _why(place, each)) for each, tally in selector.tallies.items()
    ]
    a, b, c = (max(len(row[column]) for row in rows) for column in range(3))
    lines = [f"  {each:{a}}  {latency:>{b}}  {samples:>{c}}  {why}".rstrip() for each, latency, samples, why in rows]
    return "\n".join([head, *lines, *_lacking(name, library)])


def status_of(operation: Operation, places: Sequence[Place]) -> dict[str, Any]:
    return {
        "family": operation.family,
        "classes": [
            {
                "shape": place.label,
                "serves": place.selector.serves,
                "since": place.selector.since,
                "uses": place.selector.uses,
                "kernels": [
                    {"name": name, "seconds": tally.latency, "samples": len(tally.recent), "excluded": place.selector.excluded.get(name)}
                    for name, tally in place.selector.tallies.items()
                ],
            }
            for place in places
        ],
    }


def _why(place: Place, name: str) -> str:
    selector = place.selector
    if name == selector.serves:
        return "serves"
    if name in selector.excluded:
        return selector.excluded[name]
    own = selector.tallies[name].latency
    best = None if selector.serves is None else selector.tallies[selector.serves].latency
    if own is None:
        return "not measured"
    if not best:
        return ""
    return f"{own / best:.1f} x the time" if own > best else "not faster by enough"


def _lacking(name: str, library: Library) -> list[str]:
    """Modules that this engine cannot run."""
    if library.memory is None:
        return []
    declared = library.operations[name]
    lines = []
    for entry in library.manifest.modules:
        missing = sorted(set(entry.features) - library.memory.features)
        if entry.family == declared.family and missing:
            kernels = ", ".join(f"{kernel}.{entry.file.split('.')[1]}" for kernel in declared.kernels)
            lines.append(f"  {kernels}: this engine lacks {' and '.join(missing)}")
    return lines


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1e6:.2f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
