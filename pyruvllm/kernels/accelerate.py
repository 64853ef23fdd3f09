"""Vector indexes on kernels: what hnsw_pure asks of an accelerator (hnsw_pure/accelerate.py).

    kernels = HnswKernels(memory, registry.kernel)
    index = HNSW(768, accelerator=kernels)

A search that differs from the one before in nothing but the query is one copy in, one crossing, two copies out.
"""

from collections.abc import Callable, Sequence
from operator import is_not
from typing import Any

import numpy as np

from hnsw_pure.codec import Codes
from hnsw_pure.graph import Graph
from hnsw_pure.metric import METRICS
from hnsw_pure.segments import RUN
from hnsw_pure.table import VectorTable

from ..errors import OperandError
from .kernel import Call, Kernel
from .memory import KernelMemory

_TOGETHER = 64  # queries, or vectors to be coded, in one call
_SLACK = 1.0  # errors by which the estimate of an int8 code may be too low: fewer cost recall, more cost time
_NO_LIMIT = 2**32 - 1  # of slots that a search may meet
OPERATIONS = {  # by the name of the codec
    "float32": ("hnsw_search", "hnsw_scan", "hnsw_insert", "hnsw_unlink"),
    "int8": ("code_search", "code_scan", "code_insert", "code_unlink", "code_encode"),
}
OPERATIONS["bit1"] = OPERATIONS["int8"]


class HnswKernels:
    """memory: where the kernels work; kernel: gives the kernel of an operation; codecs: those whose operations are compiled."""

    def __init__(self, memory: KernelMemory, kernel: Callable[[str], Kernel], codecs: Sequence[str] = tuple(OPERATIONS)) -> None:
        self.memory = memory
        self.kernel = kernel
        self.codecs = tuple(codecs)

    def empty(self, shape: Any, dtype: Any) -> np.ndarray:
        return self.memory.empty(shape, dtype)

    def bind(self, table: VectorTable, graph: Graph | None) -> "KernelIndex":
        return KernelIndex(self, table, graph) if table.codec.name == "float32" else CodeIndex(self, table, graph)


class KernelIndex:
    """An index of float32 vectors."""

    family = "hnsw"
    stored = ("vectors", "halves")
    sizes: tuple[str, ...] = ("dim",)
    given: tuple[str, ...] = ()  # further arrays that a query needs
    limits: tuple[str, ...] = ()  # further numbers of a search

    def __init__(self, kernels: HnswKernels, table: VectorTable, graph: Graph | None) -> None:
        self._table, self._graph = table, graph
        self._metric = METRICS.index(table.metric.name)
        self._asked = 0  # queries of the last call
        self._last: tuple | None = None  # what the last search was given, if all of it is in place still
        self._room = _Room(kernels.memory, table.metric.dim)
        asked = ("queries", *self.given, *self.stored, "ids", "allowed", "found", "scores")
        linked = ("levels", "ground", "first", "upper", "visited", "frontier")
        walked = ("width", "rows", "m")

        def bound(name: str, arrays: Sequence[str], numbers: Sequence[str]) -> _Bound:
            return _Bound(kernels.kernel(f"{self.family}_{name}"), arrays, numbers)

        counted = ("count", "top", "dim", *self.sizes[1:], "k", "metric", *self.limits)
        changed = ("parent", "touched")
        self._scan = bound("scan", asked, counted)
        if graph is None:
            return
        self._search = bound("search", (*asked, *linked, "met"), (*counted, "ef", *walked, "entry", "visits"))
        self._insert = bound(
            "insert", ("slots", *self.stored, *changed, *linked),
            ("count", "top", self.sizes[-1], *self.limits, "ef", *walked, "run", "runs", "entry"),
        )  # fmt: skip
        self._unlink = bound(
            "unlink", ("dead", *self.stored, *changed, "uppers", *linked[:-1]), ("top", self.sizes[-1], "ef", *walked, "run", "runs")
        )

    def encode(self, rows: np.ndarray) -> Codes:
        return self._table.codec.encode(rows)

    def scan(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        return self._in_parts(self._scan, queries, k, allowed, (), ())

    def search(self, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, visits: int | None = None):
        table, graph, room = self._table, self._graph, self._room
        moved = (id(table.ids), id(graph.ground.links), id(graph.towers.links))  # what else there is grows with these
        asked = (len(queries), k, ef, visits, table.top, graph.entry, room.made, moved)
        if allowed is None and asked == self._last:
            return self._answers(self._search, queries, k)
        limit = _NO_LIMIT if visits is None else visits
        shape = (min(ef, self._table.top), graph.ground.width, len(graph.towers.links), graph.m, graph.entry, limit)
        arrays = (*self._linked(), self._room.at_least("met", _TOGETHER, np.uint32))
        found = self._in_parts(self._search, queries, k, allowed, arrays, shape)
        fits = allowed is None and k <= table.top and len(queries) <= _TOGETHER
        self._last = (*asked[:-2], room.made, moved) if fits else None
        return found

    @property
    def met(self) -> int:
        return int(self._room.at_least("met", _TOGETHER, np.uint32)[: self._asked].sum())

    def insert(self, slots: np.ndarray, entry: int, ef: int) -> np.ndarray:
        table, graph, room = self._table, self._graph, self._room
        runs = -(-table.top // RUN)
        given, touched = room.at_least("slots", len(slots), np.int32), room.at_least("touched", runs, np.uint8)
        given[: len(slots)] = slots
        touched[:] = 0
        arrays = (given, *self._stored(), graph.parent, touched, *self._linked())
        shape = (min(ef, table.top), graph.ground.width, len(graph.towers.links), graph.m, RUN, runs, entry)
        self._insert.run(arrays, (len(slots), table.top, self._dims()[-1], *self._slack(), *shape))
        return np.flatnonzero(touched)

    def unlink(self, slots: np.ndarray, ef: int) -> tuple[np.ndarray, np.ndarray]:
        table, graph, room = self._table, self._graph, self._room
        runs = -(-table.top // RUN)
        sizes = {"dead": table.top, "touched": runs, "uppers": 128}
        dead, touched, uppers = (room.at_least(name, size, np.uint8) for name, size in sizes.items())
        dead[:] = touched[:] = uppers[:] = 0
        dead[slots] = 1
        arrays = (dead, *self._stored(), graph.parent, touched, uppers, *self._linked()[:-1])
        shape = (graph.ground.width, len(graph.towers.links), graph.m, RUN, runs)
        self._unlink.run(arrays, (table.top, self._dims()[-1], ef, *shape))
        return np.flatnonzero(touched), np.flatnonzero(uppers[1:]) + 1

    def _stored(self) -> tuple[np.ndarray | None, ...]:
        codes = self._table.codes
        return tuple(codes.get(name) for name in self.stored)

    def _given(self) -> tuple[np.ndarray, ...]:
        return ()

    def _dims(self) -> tuple[int, ...]:
        return (self._table.metric.dim,)

    def _slack(self) -> tuple[float, ...]:
        return ()

    def _linked(self) -> tuple[np.ndarray, ...]:
        graph, room, capacity = self._graph, self._room, len(self._table.ids)
        visited, frontier = room.at_least("visited", capacity + 1, np.uint16), room.at_least("frontier", capacity, np.uint64)
        return graph.levels, graph.ground.links, graph.towers.first, graph.towers.links, visited, frontier

    def _in_parts(self, call: "_Bound", queries: np.ndarray, k: int, allowed: np.ndarray | None, arrays: tuple, numbers: tuple):
        table, room = self._table, self._room
        if k > table.top or len(queries) > _TOGETHER:
            return self._padded(call, queries, k, allowed, arrays, numbers)
        mask = None
        if allowed is not None:
            mask = room.at_least("allowed", len(table.ids), np.uint8)
            mask[: len(allowed)] = allowed
        self._asked = len(queries)
        room.fit(len(queries), k)
        call.give(
            (room.queries, *self._given(), *self._stored(), table.ids, mask, room.found, room.scores, *arrays),
            (len(queries), table.top, *self._dims(), k, self._metric, *self._slack(), *numbers),
        )
        return self._answers(call, queries, k)

    def _answers(self, call: "_Bound", queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a call that has everything but the queries."""
        room = self._room
        room.fit(len(queries), k)
        room.rows[...] = queries
        try:
            call.again()
        except OperandError:
            self._table.metric.squares(queries, "queries")  # says what is wrong with the queries, where it was them
            raise
        return room.found_rows.copy(), room.score_rows.copy()

    def _padded(self, call: "_Bound", queries: np.ndarray, k: int, allowed: np.ndarray | None, arrays: tuple, numbers: tuple):
        """More queries than one call takes, or more hits than there are slots."""
        found, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        most = min(k, self._table.top)
        for start in range(0, len(queries), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            found[part, :most], scores[part, :most] = self._in_parts(call, queries[part], most, allowed, arrays, numbers)
        return found, scores


class CodeIndex(KernelIndex):
    """An index of int8 or 1-bit codes."""

    family = "code"
    stored = ("codes", "tails")
    sizes = ("dim", "dims")
    given = ("centre", "factors")
    limits = ("slack",)

    def __init__(self, kernels: HnswKernels, table: VectorTable, graph: Graph | None) -> None:
        super().__init__(kernels, table, graph)
        codec = table.codec
        self._factors = kernels.empty(codec.rotation.factors.shape, np.float32)
        self._factors[...] = codec.rotation.factors
        self._encode = _Bound(
            kernels.kernel("code_encode"), ("rows", "centre", "factors", "codes", "tails"), ("count", "dim", "dims", "metric")
        )
        table.encode = self.encode

    def encode(self, rows: np.ndarray) -> Codes:
        room, codec = self._room, self._table.codec
        given = room.at_least("rows", _TOGETHER * codec.metric.dim, np.float32)
        made = {name: room.at_least(f"new {name}", _TOGETHER * shape[0], np.uint8) for name, (shape, _) in codec.fields.items()}
        codes = {name: np.empty((len(rows), *shape), dtype) for name, (shape, dtype) in codec.fields.items()}
        for start in range(0, len(rows), _TOGETHER):
            part = rows[start : start + _TOGETHER]
            given[: part.size] = part.reshape(-1)
            self._encode.run((given, *self._given(), made["codes"], made.get("tails")), (len(part), *self._dims(), self._metric))
            for name, array in codes.items():
                array[start : start + len(part)] = made[name][: len(part) * array.shape[1]].reshape(len(part), -1)
        return codes

    def _given(self) -> tuple[np.ndarray, ...]:
        return self._table.codec.centre, self._factors

    def _dims(self) -> tuple[int, ...]:
        return self._table.metric.dim, self._table.codec.dims

    def _slack(self) -> tuple[float, ...]:
        return (_SLACK,)


class _Bound:
    """A call that is bound at its first use; later uses give it only what is not what it was."""

    def __init__(self, kernel: Kernel, arrays: Sequence[str], numbers: Sequence[str]) -> None:
        self._kernel = kernel
        self._names = tuple(arrays), tuple(numbers)
        self._call: Call | None = None
        self._arrays: tuple[np.ndarray | None, ...] = ()
        self._numbers: tuple[float, ...] = ()

    def give(self, arrays: tuple[np.ndarray | None, ...], numbers: tuple[float, ...]) -> None:
        if self._call is None:
            self._call = self._kernel.bind(**dict(zip(self._names[0] + self._names[1], arrays + numbers, strict=True)))
        elif numbers != self._numbers or any(map(is_not, arrays, self._arrays)):
            changed = {name: new for name, new, old in zip(self._names[0], arrays, self._arrays, strict=True) if new is not old}
            changed |= {name: new for name, new, old in zip(self._names[1], numbers, self._numbers, strict=True) if new != old}
            self._call.set(**changed)
        self._arrays, self._numbers = arrays, numbers

    def again(self) -> None:
        assert self._call is not None
        self._call()

    def run(self, arrays: tuple[np.ndarray | None, ...], numbers: tuple[float, ...]) -> None:
        self.give(arrays, numbers)
        self.again()


class _Room:
    """Arrays for calls, which are kept and grow.

    rows, found_rows and score_rows are what one call fills of queries, found and scores: (count, dim), (count, k) and (count, k).
    """

    def __init__(self, memory: KernelMemory, dim: int) -> None:
        self._memory = memory
        self._dim = dim
        self._kept: dict[str, np.ndarray] = {}
        self._shape = (0, 0)
        self.made = 0  # arrays so far

    def at_least(self, name: str, length: int, dtype: Any) -> np.ndarray:
        """The array of that name, (length or more,), zeros when it is new."""
        kept = self._kept.get(name)
        if kept is None or len(kept) < length:
            kept = self._kept[name] = self._memory.empty(length, dtype)
            kept[:] = 0
            self.made += 1
        return kept

    def fit(self, count: int, k: int) -> None:
        if (count, k) == self._shape:
            return
        self.queries = self.at_least("queries", count * self._dim, np.float32)
        self.found, self.scores = self.at_least("found", count * k, np.int64), self.at_least("scores", count * k, np.float32)
        self.rows = self.queries[: count * self._dim].reshape(count, self._dim)
        self.found_rows, self.score_rows = (array[: count * k].reshape(count, k) for array in (self.found, self.scores))
        self._shape = count, k
