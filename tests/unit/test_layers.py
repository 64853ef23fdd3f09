"""Imports point down only, and the browser is touched in one place."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = (
    ("config", "errors", "types"),
    ("host",),
    ("hnsw_pure", "storage", "kernels"),
    ("memory", "embed"),
    ("routing", "models", "cache"),
    ("learning", "federation"),
    ("answering", "locking", "pooling", "tabs"),
    ("runtime",),
    ("chat", "adapters", "notebook", "cli", "__init__", "__main__"),
    ("memory_chat",),
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
MODULES = sorted(path for package in ("hnsw_pure", "pyruvllm") for path in (ROOT / package).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Full names of all that a module imports, wherever in the module."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def part(name: str) -> str | None:
    """The part of the project that a full name lies in; None for what is not of the project."""
    steps = name.split(".")
    if steps[0] == "hnsw_pure":
        return "hnsw_pure"
    if steps[0] != "pyruvllm":
        return None
    return steps[1] if len(steps) > 1 and steps[1] in RANK else "__init__"


def owner(path: Path) -> str:
    return part(".".join(path.relative_to(ROOT).with_suffix("").parts))


def edges() -> dict[str, set[str]]:
    """For each part, the other parts that it imports."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        targets = {part(name) for name in imports(path)} - {None, owner(path)}
        found.setdefault(owner(path), set()).update(targets)
    return found


def test_every_part_of_the_package_has_a_layer():
    found = (ROOT / "pyruvllm").iterdir()
    tops = {path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert tops <= set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    up = {name for name in imports(path) if part(name) not in (None, owner(path)) and RANK[part(name)] > RANK[owner(path)]}
    assert not up


def test_no_two_parts_import_each_other():
    order = list(TopologicalSorter(edges()).static_order())  # raises CycleError
    assert {"host", "storage", "hnsw_pure"} <= set(order)


def test_the_index_stands_alone():
    outside = {name.split(".")[0] for path in MODULES if owner(path) == "hnsw_pure" for name in imports(path)}
    assert outside - sys.stdlib_module_names == {"numpy", "hnsw_pure"}


def test_only_the_browser_host_imports_the_browser():
    browser = {"js", "pyodide", "pyodide_js"}
    users = {str(path.relative_to(ROOT)) for path in MODULES if browser & {name.split(".")[0] for name in imports(path)}}
    assert users == {"pyruvllm/host/browser.py"}


def test_numpy_is_the_only_package_that_is_always_imported():
    """What else is used is imported inside functions, so that a plain install works."""
    for path in MODULES:
        always = {
            name.split(".")[0]
            for node in tree(path).body
            if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
        }
        host = {"browser.py": {"js", "pyodide", "pyodide_js"}, "arena.py": {"wasmtime"}}  # these two are imported by need
        allowed = {"numpy", "hnsw_pure", "pyruvllm"} | host.get(path.name, set())
        assert always - sys.stdlib_module_names <= allowed, path
