"""Vectors to search in, queries, and the true ten nearest of each, as files of one folder that every host reads.

    shape.json      name, count, dim, queries
    base.0.f32 ...  (4096, dim) float32 each, the last one fewer
    queries.f32     (queries, dim) float32
    truth.i32       (queries, 10) int32: rows of the base by exact inner product, in any order

All vectors have length one.
"""

import ast
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from tests.generators.clustered import Clustered

PART = 4096  # vectors a file
DIM = 768
WORDS = 60  # of a passage
PROSE = {"", ".gz", ".txt", ".md", ".rst", ".html", ".py", ".pod", *(f".{section}" for section in range(1, 9))}  # suffixes of files


def cache() -> Path:
    """Where the folders are kept from one run to the next."""
    from tests.e2e.browser import ROOT

    return ROOT / "build" / "index-bench"


def prepare(kind: str, count: int, queries: int) -> Path:
    """The folder of that data, made where it is not there yet.

    kind: "clustered" (tests/generators/clustered.py), "uniform", "text" (this machine's documentation, embedded), or the PREFIX of
    PREFIX_base.f32 (n, 768) and PREFIX_query.f32.
    """
    name = kind if kind in ("clustered", "uniform", "text") else f"{Path(kind).name}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"
    folder = cache() / f"{name}-{count}"
    if not (folder / "shape.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, name, *drawn(kind, count, queries))
    return folder


def drawn(kind: str, count: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    if kind == "clustered":
        source = Clustered(DIM)
        asked = source.draw(queries)
        return source.draw(count), asked
    if kind == "uniform":
        both = np.random.default_rng(20260118).standard_normal((count + queries, DIM), np.float32)
        both /= np.linalg.norm(both, axis=1, keepdims=True)
        return both[queries:], both[:queries]
    if kind == "text":
        vectors = embedded(count + queries)
        return vectors[queries:], vectors[:queries]
    base = np.fromfile(f"{kind}_base.f32", np.float32, count * DIM).reshape(-1, DIM)
    return base, np.fromfile(f"{kind}_query.f32", np.float32, queries * DIM).reshape(-1, DIM)


def write(folder: Path, name: str, base: np.ndarray, queries: np.ndarray) -> None:
    truth = np.empty((len(queries), 10), np.int32)
    for start in range(0, len(queries), 50):
        truth[start : start + 50] = np.argpartition(queries[start : start + 50] @ base.T, -10, axis=1)[:, -10:]
    for number, start in enumerate(range(0, len(base), PART)):
        base[start : start + PART].astype(np.float32).tofile(folder / f"base.{number}.f32")
    queries.astype(np.float32).tofile(folder / "queries.f32")
    truth.tofile(folder / "truth.i32")
    shape = {"name": name, "count": len(base), "dim": base.shape[1], "queries": len(queries)}
    (folder / "shape.json").write_text(json.dumps(shape))


def passages() -> Iterator[str]:
    """Different passages of some sixty words: this system's documents and manuals, and the docstrings of every Python package on it."""
    folders = [Path(folder) for folder in ("/usr/share/doc", "/usr/share/man", "/usr/share/perl", "/usr/share/info")]
    folders += [Path(folder) for folder in sorted({*sys.path, sys.base_prefix}) if folder and Path(folder).is_dir()]
    seen = set()
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        words = _prose(path).split()
        for start in range(0, len(words) - WORDS // 2, WORDS):
            text = " ".join(words[start : start + WORDS])[:600]
            if text not in seen and sum(letter.isalpha() or letter == " " for letter in text) > 0.85 * len(text):
                seen.add(text)
                yield text


def _prose(path: Path) -> str:
    if not path.is_file() or path.suffix not in PROSE:
        return ""
    try:
        content = (gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes())[:2_000_000].decode()
        if path.suffix != ".py":
            return re.sub(r"<[^>]*>|\\f[A-Z]|^\.\w+", " ", content, flags=re.M)
        nodes = (node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
        return "\n".join(ast.get_docstring(node) or "" for node in nodes)
    except (OSError, EOFError, ValueError, SyntaxError, RecursionError):  # what cannot be read is no text
        return ""


def embedded(count: int) -> np.ndarray:
    """`count` passages in random order, embedded by the project's own embedder, (count, 768) float32. Kept: this takes minutes."""
    import asyncio

    kept = cache() / "text.f16.npy"
    done = np.load(kept) if kept.exists() else np.empty((0, DIM), np.float16)
    if len(done) < count:
        texts = sorted(islice(passages(), 2 * count), key=lambda text: hashlib.sha256(text.encode()).digest())
        if len(texts) < count:
            raise SystemExit(f"this machine has {len(texts)} passages of text; {count} were asked for")
        done = np.concatenate((done, asyncio.run(_embedded(texts[len(done) : count], len(done)))))
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, done)
    vectors = done[:count].astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


async def _embedded(texts: list[str], before: int) -> np.ndarray:
    from pyruvllm.embed import open_embedder

    embedder = await open_embedder()
    found = []
    for start in range(0, len(texts), 64):
        found.append(np.asarray(await embedder.embed(texts[start : start + 64]), np.float16))
        print(f"embedded {before + start + len(found[-1])} of {before + len(texts)} passages", file=sys.stderr)  # noqa: T201
    return np.concatenate(found)
