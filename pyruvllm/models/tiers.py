"""What a recording does with the keys and values of one sequence: writes them, and attends to both tiers with one softmax."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..cache import PAGE, KvCache, Layout, Sequence
from ..cache.region import UNIT
from ..kernels.commands import CommandBuffer
from .shape import Shape

Record = Callable[..., int]  # (operation, what counts tokens, ...): the number of the command


class Tiers:
    """layout: of the old pages; rotate: whether heads are rotated by a Hadamard matrix; tokens: of the sequence in one replay, at most."""

    def __init__(
        self, cache: KvCache, shape: Shape, layout: Layout, rotate: bool, context: int, tokens: int, room: Callable[..., np.ndarray]
    ) -> None:
        self._cache, self._shape, self._layout, self._rotate, self._tokens = cache, shape, layout, rotate, tokens
        pages = -(-context // PAGE)
        self._old, self._tail = (cache.kernels.empty(pages, np.int32) for _ in range(2))
        self._old[...] = self._tail[...] = 0
        width = shape.heads * shape.head_dim
        self._other = room(tokens, width)
        self._lse, self._other_lse = room(tokens, shape.heads), room(tokens, shape.heads)
        self._writes: list[int] = []
        self._olds: list[int] = []
        self._tails: list[int] = []
        self._placed: tuple[Sequence | None, int] = None, -1
        self._looking_back = False  # whether the old pages are read at all

    def record(self, layer: int, record: Record, q: np.ndarray, k: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
        """q, k, v of one layer, rotated to their positions, to what the heads gave."""
        shape, plain, heads = self._shape, self._cache.plain, self._shape.kv_heads[layer]
        if self._rotate:
            for each, count in ((q, shape.heads), (k, heads), (v, heads)):
                record("hadamard", {"rows": count}, x=each, dim=shape.head_dim)
        place = {"pool": self._cache.pool.array, "count": len(self._cache.pool.array), "stride": UNIT}
        place |= {"kv_heads": heads, "dim": shape.head_dim, "page": PAGE, "pages": len(self._old)}
        tail = {"table": self._tail, "keys_at": plain.places[layer][0], "values_at": plain.places[layer][1], **place}
        old = {"table": self._old, "keys_at": self._layout.places[layer][0], "values_at": self._layout.places[layer][1], **place}
        attend = {"q": q, "heads": shape.heads, "context": 0, "offset": 0, "scale": shape.head_dim**-0.5}
        self._writes.append(record("kv_write_f16", {"tokens": 1}, k=k, v=v, position=0, **tail))
        kind = self._layout.kinds[layer]
        self._olds.append(record(f"paged_attention_{kind}", {"tokens": 1}, out=self._other, lse=self._other_lse, **attend, **old))
        attend["context"] = self._tokens
        self._tails.append(record("paged_attention_f16", {"tokens": 1}, out=out, lse=self._lse, **attend, **tail))
        merged: dict[str, Any] = {"out": out, "lse": self._lse, "other": self._other, "other_lse": self._other_lse}
        record("merge_attention", {"rows": shape.heads}, dim=shape.head_dim, **merged)
        if self._rotate:
            record("hadamard", {"rows": shape.heads}, x=out, dim=shape.head_dim)

    def place(self, buffer: CommandBuffer, sequence: Sequence, position: int, count: int) -> None:
        """For ``count`` tokens from ``position`` on, whose pages are there."""
        if self._placed != (sequence, sequence.changes):
            self._old[: len(sequence.old)] = [page.place for page in sequence.old]
            self._tail[: len(sequence.tail)] = [page.place for page in sequence.tail]
            self._placed = sequence, sequence.changes
        first = sequence.old_tokens
        for number in self._writes:
            buffer.patch(number, position=max(position - first, 0))
        if first or self._looking_back:
            for number in self._olds:
                buffer.patch(number, context=min(first, position + count), offset=position)
        self._looking_back = first > 0
        for number in self._tails:
            buffer.patch(number, context=max(position + count - first, 0), offset=position - first)

    def silence(self, buffer: CommandBuffer, silent: bool, count: int) -> None:
        """Whether keys and values are left as they are: to find the state of convolutions again, at positions that are known."""
        for number in self._writes:
            buffer.patch(number, tokens=0 if silent else count)
