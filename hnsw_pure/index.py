"""HNSW: approximate nearest neighbours in a graph of several layers.

Y. A. Malkov and D. A. Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs, IEEE TPAMI 2018, arXiv:1603.09320. The defaults are the paper's range for high-dimensional data: 2 M links on the ground
layer, level multiplier 1 / ln M, neighbour selection by algorithm 4.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np

from . import segments as seg
from .accelerate import Accelerator, BoundIndex
from .base import VectorIndex
from .brute import rank, scan
from .errors import CorruptSegmentError, ParameterError
from .explain import Step, walked
from .graph import Graph
from .insert import link
from .pace import Pace
from .repair import unlink
from .rescore import Originals
from .search import Visited, beam, descend
from .statistics import Statistics, layer_statistics, reachable_share


class HNSW(VectorIndex):
    """An index that finds nearly all of the nearest while looking at few vectors.

        index = HNSW(768)
        index.add([1, 2], vectors)              # (2, 768)
        index.search(queries, k=10).ids         # (q, 10) int64

    dim: numbers a vector; metric: "cosine", "ip" or "l2".
    M: links of a new node, 2 ... 1024; a node has at most M on an upper layer and 2 M on the ground.
    ef_construction: candidates a new node chooses its links from, at least M.
    ef_search: `ef` of searches that do not give one.
    seed: of the levels; the same ids and vectors in the same order make the same index.
    codec: how vectors are kept: "float32", "int8" (a quarter of it) or "bit1" (1/27th), see codec.py. Scores of bit1 are estimates.
    originals: a callable from ids (n,) int64 to their vectors (n, dim) as they were given, float32 or float16: with it the last
        candidates of a search over int8 or bit1 are scored exactly, all of one call in one batch.
    accelerator: compiled code that searches and links, see accelerate.py.
    Raises ParameterError.
    """

    kind = "hnsw"
    parts = ("links",)

    def __init__(
        self,
        dim: int,
        M: int = 32,
        ef_construction: int = 200,
        metric: str = "cosine",
        *,
        ef_search: int = 64,
        seed: int = 20260118,
        codec: str = "float32",
        originals: Originals | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        for name, value, low, high in (
            ("M", M, 2, 1024),
            ("ef_construction", ef_construction, M, None),
            ("ef_search", ef_search, 1, None),
            ("seed", seed, 0, None),
        ):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low or (high and value > high):
                raise ParameterError(f"{name} is {value!r}; it is an integer of at least {low}" + (f", at most {high}" if high else ""))
        super().__init__(dim, metric, codec=codec, seed=seed, originals=originals, accelerator=accelerator)
        self.M = int(M)
        self.ef_construction = int(ef_construction)
        self.ef_search = int(ef_search)
        self._visited = Visited()
        self._pace = Pace()
        self._graph = Graph(self.M, self.seed, self._ledger, self._empty)
        if accelerator is not None:
            self._bound = accelerator.bind(self._table, self._graph)

    def _search(self, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, budget: float | None):
        table, graph = self._table, self._graph
        among = table.live() if allowed is None else np.flatnonzero(allowed)
        wanted = min(k, len(among))
        if not wanted or (allowed is not None and self._scans(len(among), ef)):
            return scan(table, queries, k, among)
        slots = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        visits = None if budget is None else self._pace.visits(budget, len(queries))
        begun, met = perf_counter(), 0
        for i, query in enumerate(queries):
            asked = table.codec.ask(query[None])
            found, _ = beam(graph.ground, table, asked, descend(graph, table, asked), ef, self._visited, allowed, visits)
            met += self._visited.met
            if len(found) < wanted and visits is not None:
                found, _ = beam(graph.ground, table, asked, descend(graph, table, asked), wanted, self._visited, allowed)
            if len(found) < wanted:
                slots[i : i + 1], scores[i : i + 1] = scan(table, query[None], k, among)
            else:
                slots[i, :wanted], scores[i, :wanted] = rank(table, found[:wanted], query)
        if budget is not None:
            self._pace.note(met, perf_counter() - begun)
        return slots, scores

    def _accelerated(
        self, bound: BoundIndex, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, budget: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if allowed is not None and self._scans(int(np.count_nonzero(allowed)), ef):
            return bound.scan(queries, k, allowed)
        if budget is None:
            return bound.search(queries, k, ef, allowed)
        begun = perf_counter()
        found = bound.search(queries, k, ef, allowed, self._pace.visits(budget, len(queries)))
        if len(queries) == 1:
            self._pace.note(bound.met, perf_counter() - begun)
        return found

    def _scans(self, among: int, ef: int) -> bool:
        """Whether so few are allowed that a scan is the better way.

        A walk looks at about 16 ef vectors, and at 1/share times as many where only a share of them counts.
        """
        return among**2 <= 16 * ef * len(self._table)

    def _ef(self) -> int:
        return self.ef_search

    def _link(self, slots: np.ndarray) -> None:
        graph, table = self._graph, self._table
        if self._bound is None:
            link(graph, table, slots, self.ef_construction, self._visited)
            return
        graph.reserve(len(table.ids))
        entry = graph.entry
        graph.enrol(slots, graph.draw_levels(table.ids[slots]))  # which also notes the upper layers that change
        for run in self._bound.insert(slots, entry, self.ef_construction).tolist():
            self._ledger.touch_name(f"links/{run}")

    def _unlink(self, slots: np.ndarray) -> None:
        if self._bound is None:
            unlink(self._graph, self._table, slots, self.ef_construction)
        elif len(slots):
            runs, levels = self._bound.unlink(slots, self.ef_construction)
            for name in [f"links/{run}" for run in runs.tolist()] + [f"upper/{level}" for level in levels.tolist()]:
                self._ledger.touch_name(name)

    def _drop(self, slots: np.ndarray) -> None:
        self._graph.reserve(len(self._table.ids))
        linked = slots[self._graph.levels[slots] >= 0]  # an add that was cut short leaves some that are not
        stay = np.flatnonzero(self._graph.levels >= 0)
        if len(linked) * 2 <= len(stay):
            self._unlink(linked)
            self._graph.expel(linked)
            super()._drop(slots)
            return
        # Where most go, there is more to repair than to build.
        self._graph.expel(stay)
        super()._drop(slots)
        live = self._table.live()
        if len(live):
            self._link(live)

    def statistics(self) -> Statistics:
        graph = self._graph
        members = [np.flatnonzero(graph.levels >= level) for level in range(len(graph.layers))]
        layers = [layer_statistics(layer, on_it) for layer, on_it in zip(graph.layers, members, strict=True)]
        return replace(super().statistics(), layers=tuple(layers), reachable=reachable_share(graph))

    def _explain(self, query: np.ndarray, ef: int, allowed: np.ndarray | None) -> tuple[str, tuple[Step, ...], int, int]:
        among = len(self) if allowed is None else int(np.count_nonzero(allowed))
        if not among or (allowed is not None and self._scans(among, ef)):
            return super()._explain(query, ef, allowed)
        why = f"A walk that keeps {ef} in sight: of {len(self)} vectors {among} are allowed."
        return why, *walked(self._graph, self._table, query, ef, allowed)

    def _bytes(self) -> dict[str, int]:
        graph, towers = self._graph, self._graph.towers
        arrays = {"links": graph.ground.links, "upper": towers.links, "first": towers.first, "levels": graph.levels, "parent": graph.parent}
        return super()._bytes() | {name: array.nbytes for name, array in arrays.items()}

    def _move(self, sources: np.ndarray, targets: np.ndarray) -> None:
        self._graph.move(sources, targets)
        super()._move(sources, targets)

    def _shrink(self) -> None:
        super()._shrink()
        self._graph.shrink(self._table.top)

    def _settings(self) -> dict:
        return {
            "dim": self.dim,
            "metric": self.metric,
            "M": self.M,
            "ef_construction": self.ef_construction,
            "ef_search": self.ef_search,
            "seed": self.seed,
            "codec": self.codec,
        }

    def _upper(self) -> int:
        return len(self._graph.upper)

    def _pack(self, part: str, run: str) -> bytes:
        graph = self._graph
        if part == "links":
            slots = slice(int(run) * seg.RUN, min((int(run) + 1) * seg.RUN, self._table.top))
            return graph.parent[slots].astype("<i4").tobytes() + seg.pack_lists(graph.ground.links[slots])
        if part == "upper":
            layer = graph.layers[int(run)]
            members = layer.members()
            return len(members).to_bytes(4, "little") + members.astype("<i4").tobytes() + seg.pack_lists(layer.lists(members))
        return super()._pack(part, run)

    def _restore(self, payloads: Mapping[str, bytes], top: int, upper: int, vectors: Callable | None) -> None:
        super()._restore(payloads, top, upper, vectors)
        graph = self._graph
        live = self._table.ids >= 0
        graph.reserve(top)
        for start in range(0, top, seg.RUN):
            name = f"links/{start // seg.RUN}"
            size = min(seg.RUN, top - start)
            graph.parent[start : start + size] = seg.read_array(name, payloads[name][: 4 * size], "<i4", size)
            graph.ground.links[start : start + size] = seg.unpack_lists(name, payloads[name][4 * size :], size, graph.ground.width)
        levels = np.where(live, 0, -1).astype(np.int8)
        lists = []
        for level in range(1, upper + 1):
            name = f"upper/{level}"
            count = int.from_bytes(payloads[name][:4], "little")
            members = seg.read_array(name, payloads[name][4 : 4 + 4 * count], "<i4", count)
            lists.append((members, seg.unpack_lists(name, payloads[name][4 + 4 * count :], count, self.M)))
            if not count or members.min() < 0 or members.max() >= top or (levels[members] != level - 1).any():
                raise CorruptSegmentError(f"segment {name} names slots that are not on the layer below")
            levels[members] = level
        graph.restore(levels, lists)
        fault = graph.fault(live)
        if fault:
            raise CorruptSegmentError(f"the segments do not make a graph: {fault}")
