"""A decoder's work on some tokens, recorded once, replayed with what changes patched. Read ``_layers``: that is the model."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cache import Layout
from ..cache import Sequence as Cached
from ..kernels.commands import CommandBuffer
from ..kernels.kernel import Kernel
from ..kernels.weights import Weights
from .adapter import Loaded
from .tiers import Tiers

if TYPE_CHECKING:
    from .decoder import Runner

_REPLAY = {"count": 256, "kinds": 16, "areas": 256, "fields": 64}  # the sizes that a recording has here, more or less
SLICE = 200_000_000  # products of a weight and a number between two turns of others: 4 to 20 ms


class Recording:
    """The model for ``block`` tokens at once, or fewer, of sequences with this layout of old pages; rotate: of their heads."""

    rows = 1  # whose logits are made

    def __init__(self, runner: "Runner", block: int, layout: Layout, rotate: bool, adapter: Loaded | None = None) -> None:
        self.runner, self.block, self.layout, self.rotate, self.adapter = runner, block, layout, rotate, adapter
        self._kernels = runner.kernels
        self._buffer = CommandBuffer(self._kernels.best("replay", **_REPLAY))
        self._head = CommandBuffer(self._kernels.best("replay", **_REPLAY))
        self._counted: list[tuple[int, str, int]] = []  # commands, the name of what counts tokens, and how many it is for each
        self._heavy: list[tuple[int, int]] = []  # commands that multiply with weights, and how many
        self._cuts: dict[int, list[int]] = {}  # by tokens: commands before which others have their turn
        self._tokens = block
        self._number = 0  # of arrays to work in
        shape = runner.shape
        queries, keys = shape.heads * shape.head_dim, max(shape.kv_heads) * shape.head_dim
        self._ids = self._room(block, dtype=np.uint32)
        self._positions = self._room(block, dtype=np.int32)
        self._frequencies = self._room(shape.rotated // 2)
        self._frequencies[...] = runner.parts.frequencies
        self._x, self._h = self._room(block, shape.hidden), self._room(block, shape.hidden)
        self._q, self._mixed = self._room(block, queries), self._room(block, max(queries, shape.hidden))
        self._k, self._v = self._room(block, max(keys, 1)), self._room(block, max(keys, 1))
        self._bcx = self._room(block, 3 * shape.hidden) if shape.kernel else self._h
        self._gate, self._up = self._room(block, shape.feed_forward), self._room(block, shape.feed_forward)
        self._last, self.logits = self._room(self.rows, shape.hidden), self._room(self.rows, runner.vocabulary)
        self._slots()
        self._layers()
        self._output()

    def run(self, sequence: Cached, ids: Sequence[int], last: bool) -> Iterator[None]:
        """In slices. Left in between, nothing was taken in."""
        cache = self.runner.cache
        cache.pool.pin(sequence.holding)
        cache.reserve(sequence, len(ids))
        yield from self._replayed(sequence, ids, len(sequence))
        if last:
            yield
            self._finish(len(ids))
        sequence.state[...] = self._state
        cache.advance(sequence, ids)
        if not last:
            yield

    def again(self, sequence: Cached, ids: Sequence[int], position: int) -> None:
        """For the state alone, at positions whose keys and values are known."""
        self._count(len(ids))
        self._tiers.silence(self._buffer, True, len(ids))
        try:
            for _ in self._replayed(sequence, ids, position):
                pass
            sequence.state[...] = self._state
        finally:
            self._tiers.silence(self._buffer, False, len(ids))

    def _replayed(self, sequence: Cached, ids: Sequence[int], position: int) -> Iterator[None]:
        count = len(ids)
        self._ids[:count] = ids
        self._positions[:count] = np.arange(position, position + count)
        self._count(count)
        self._tiers.place(self._buffer, sequence, position, count)
        self._state[...] = sequence.state
        cuts = self._slices(count)
        for first, end in zip(cuts, cuts[1:], strict=False):
            if first:
                yield
            self._buffer.replay(first, end)

    def _finish(self, count: int) -> None:
        """Logits after the last of so many."""
        self._last[0] = self._x[count - 1]
        self._head.replay()

    def _slices(self, tokens: int) -> list[int]:
        """Where a replay is cut, from 0 to the number of commands."""
        if tokens not in self._cuts:
            cuts, work = [0], 0
            for number, weights in self._heavy:
                work += weights * tokens
                if work > SLICE:
                    cuts.append(number + 1)
                    work = 0
            self._cuts[tokens] = [*cuts, len(self._buffer)] if cuts[-1] < len(self._buffer) else cuts
        return self._cuts[tokens]

    def _count(self, count: int) -> None:
        if count != self._tokens:
            for number, name, each in self._counted:
                self._buffer.patch(number, **{name: count * each})
            self._tokens = count

    def _slots(self) -> None:
        """Room for the state of the sequence, and what reads its keys and values."""
        self._state = self._room(*self.runner.cache.form.states)
        self._tiers = self._tiers_of(self.block)

    def _tiers_of(self, tokens: int) -> Tiers:
        return Tiers(self.runner.cache, self.runner.shape, self.layout, self.rotate, self.runner.context, tokens, self._room)

    def _layers(self) -> None:
        shape, parts = self.runner.shape, self.runner.parts
        self._embed(parts.matrices["token_embd"])
        for layer, kv_heads in enumerate(shape.kv_heads):
            self._norm(self._x, f"blk.{layer}.attn_norm", self._h)
            if kv_heads:
                self._attention(layer, kv_heads)
            else:
                self._convolution(layer)
            self._add(self._h)
            self._norm(self._x, f"blk.{layer}.ffn_norm", self._h)
            self._linear(f"blk.{layer}.ffn_gate", self._h, self._gate)
            self._linear(f"blk.{layer}.ffn_up", self._h, self._up)
            self._record("swiglu", {"n": shape.feed_forward}, gate=self._gate, up=self._up, y=self._gate)
            self._linear(f"blk.{layer}.ffn_down", self._gate, self._h)
            self._add(self._h)

    def _output(self) -> None:
        """The final norm and the logits, of one token."""
        shape, parts = self.runner.shape, self.runner.parts
        weight = parts.vectors["token_embd_norm" if shape.architecture == "lfm2" else "output_norm"]
        norm = {"x": self._last, "w": weight, "y": self._last, "rows": self.rows, "dim": shape.hidden, "eps": shape.eps}
        output = parts.output
        product = {"x": self._last, "w": output.w, "y": self.logits, "batch": self.rows, "rows": output.rows, "cols": output.cols}
        for operation, values in (("rms_norm", norm), (output.operation, {**product, "first": 0, "count": output.rows})):
            self._head.record(self._kernels.recorded(operation, **values), **values)

    def _convolution(self, layer: int) -> None:
        """h of the norm to h, which is added to x."""
        self._linear(f"blk.{layer}.shortconv.in_proj", self._h, self._bcx)
        self._filter(layer)
        self._linear(f"blk.{layer}.shortconv.out_proj", self._mixed, self._h)

    def _filter(self, layer: int) -> None:
        state = self._state[self.runner.shape.kv_heads[:layer].count(0)]
        self._record("lfm2_conv", {"tokens": 1}, state=state, bcx=self._bcx, y=self._mixed, **self._filters(layer))

    def _filters(self, layer: int) -> dict[str, Any]:
        shape, weight = self.runner.shape, self.runner.parts.vectors[f"blk.{layer}.shortconv.conv"]
        return {"w": weight, "channels": shape.hidden, "kernel": shape.kernel}

    def _attention(self, layer: int, kv_heads: int) -> None:
        """The same."""
        shape = self.runner.shape
        for name, y, heads in (("q", self._q, shape.heads), ("k", self._k, kv_heads), ("v", self._v, kv_heads)):
            self._linear(f"blk.{layer}.attn_{name}", self._h, y)
            if name != "v":
                self._head_norm(f"blk.{layer}.attn_{name}_norm", y, heads)
                self._rotate(y, heads)
        self._attend(layer)
        self._linear(f"blk.{layer}.attn_output", self._mixed, self._h)

    def _attend(self, layer: int) -> None:
        self._tiers.record(layer, self._record, self._q, self._k, self._v, self._mixed)

    def _embed(self, table: Weights) -> None:
        sizes = {"rows": table.rows, "cols": table.cols}
        self._record(f"rows_{table.kind}", {"n": 1}, w=table.w, index=self._ids, y=self._x, **sizes)

    def _norm(self, x: np.ndarray, name: str, y: np.ndarray) -> None:
        weight = self.runner.parts.vectors[name]
        self._record("rms_norm", {"rows": 1}, x=x, w=weight, y=y, dim=weight.size, eps=self.runner.shape.eps)

    def _head_norm(self, name: str, y: np.ndarray, heads: int) -> None:
        weight = self.runner.parts.vectors.get(name)
        if weight is not None:
            self._record("rms_norm", {"rows": heads}, x=y, w=weight, y=y, dim=weight.size, eps=self.runner.shape.eps)

    def _rotate(self, y: np.ndarray, heads: int) -> None:
        shape = self.runner.shape
        sizes = {"heads": heads, "dim": shape.head_dim, "rot": shape.rotated, "interleaved": int(shape.interleaved)}
        self._record("rotary", {"tokens": 1}, x=y, positions=self._positions, frequencies=self._frequencies, **sizes)

    def _linear(self, name: str, x: np.ndarray, y: np.ndarray) -> None:
        weights, bias = self.runner.parts.matrices[name], self.runner.parts.vectors.get(f"{name}.bias")
        sizes = {"rows": weights.rows, "cols": weights.cols, "first": 0, "count": weights.rows}
        number = self._record(weights.operation, {"batch": 1}, x=x, w=weights.w, y=y, **sizes)
        self._heavy.append((number, weights.rows * weights.cols))
        if bias is not None:
            tiled = self._room(self.block, bias.size)
            tiled[...] = bias
            self._record("add", {"n": bias.size}, x=tiled, y=y)
        if self.adapter is not None and name in self.adapter.sides:
            a, b, scale = self.adapter.sides[name]
            sizes = {"rows": weights.rows, "cols": weights.cols, "rank": len(a)}
            self._record("lora_apply_f16", {"tokens": 1}, x=x, a=a, b=b, y=y, scale=scale, **sizes)

    def _add(self, x: np.ndarray) -> None:
        self._record("add", {"n": self.runner.shape.hidden}, x=x, y=self._x)

    def _record(self, operation: str, counted: dict[str, int], **values: Any) -> int:
        """counted: the number that grows with the tokens, and by how much each."""
        ((name, each),) = counted.items()
        values[name] = each * self.block
        kernel = self._kernels.recorded(operation, **values)
        number = self._buffer.record(kernel, **values, **self._scratch(kernel, values))
        self._counted.append((number, name, each))
        return number

    def _scratch(self, kernel: Kernel, values: dict[str, Any]) -> dict[str, np.ndarray]:
        """What commands work in and leave nothing in: the same for all, of all recordings, since they run one after the other."""
        found = {}
        for operand in kernel.operation.operands:
            if operand.mode == "scratch":
                key, size = (operand.name, operand.dtype), operand.needed(values) // operand.dtype.itemsize
                if key not in self.runner._rooms or self.runner._rooms[key].size < size:
                    self.runner._rooms[key] = self._kernels.empty(size, operand.dtype)
                found[operand.name] = self.runner._rooms[key]
        return found

    def _room(self, *shape: int, dtype: Any = np.float32) -> np.ndarray:
        """The next array to work in: the same one in every recording of this size, since only one is replayed at a time."""
        self._number += 1
        key = self.block, self._number, shape, dtype
        if key not in self.runner._rooms:
            self.runner._rooms[key] = room = self._kernels.empty(shape, dtype)
            room[...] = 0  # recording tries kernels on it
        return self.runner._rooms[key]
