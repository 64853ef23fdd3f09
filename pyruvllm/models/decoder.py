"""A decoder at work on one sequence: recorded once, replayed for every token.

    runner = Runner(shape, parts, registry, context=2048)
    logits = runner.feed(ids)        # (vocabulary,) float32, of what comes after the last one
    logits = runner.feed([token])

Read ``_layers``: that is the model. One recording has one token, the other a block of them; what changes between replays is patched.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..kernels.commands import CommandBuffer
from ..kernels.registry import KernelRegistry
from ..kernels.weights import Weights
from .parts import Parts
from .shape import Shape

PAGE = 16  # tokens
_REPLAY = {"count": 256, "kinds": 16, "areas": 256, "fields": 64}  # the sizes that a recording has here, more or less
BLOCK = 32  # tokens of a prompt that are worked on together


class Runner:
    """context: tokens that it has room for. ConfigError where that is more than the model was trained for."""

    def __init__(self, shape: Shape, parts: Parts, kernels: KernelRegistry, context: int, block: int = BLOCK) -> None:
        if not 0 < context <= shape.context:
            raise ConfigError(f"context is {context}; the model was trained for 1 to {shape.context} tokens")
        self.shape, self.parts, self.kernels, self.context = shape, parts, kernels, context
        self.history: list[int] = []  # tokens so far
        self.cache = _Cache(shape, kernels, context)
        self._one = _Recording(self, 1)
        self._many = _Recording(self, min(block, context)) if min(block, context) > 1 else self._one

    @property
    def position(self) -> int:
        return len(self.history)

    @property
    def vocabulary(self) -> int:
        return self.parts.output.rows

    @property
    def block(self) -> int:
        """Tokens of a prompt that are worked on together."""
        return self._many.block

    def feed(self, ids: Sequence[int], sliced: Callable[[], None] | None = None) -> np.ndarray:
        """Takes further tokens in; logits (vocabulary,) after the last, overwritten by the next call.

        sliced: called between blocks of a long prompt; what it raises stops it, with the tokens so far taken in. Raises ConfigError for
        no token, one that is not in the vocabulary, and more than there is room for: then nothing was taken in.
        """
        wrong = next((id for id in ids if not 0 <= id < self.parts.matrices["token_embd"].rows), None)
        if not len(ids) or wrong is not None:
            raise ConfigError(f"{wrong if wrong is not None else 'nothing'} is no token; 0 to {self.vocabulary - 1} are")
        if self.position + len(ids) > self.context:
            raise ConfigError(f"{self.position + len(ids)} tokens do not fit a context of {self.context}; {self.position} are in it")
        start = 0
        while start < len(ids):
            recording = self._many if len(ids) - start > 1 else self._one
            part = ids[start : start + recording.block]
            start += len(part)
            recording.run(part, last=start == len(ids))
            if sliced is not None and start < len(ids):
                sliced()
        return recording.logits[0]

    def reset(self) -> None:
        """To the beginning."""
        self.history = []
        for state in self.cache.states.values():
            state[...] = 0


class _Cache:
    """Keys and values in pages of float16, all layers of a position side by side; and the last columns of the convolutions."""

    def __init__(self, shape: Shape, kernels: KernelRegistry, context: int) -> None:
        self.places: dict[int, tuple[int, int]] = {}  # of an attention layer: where its keys and its values begin in a page
        self.stride = 0
        for layer, kv_heads in enumerate(shape.kv_heads):
            if kv_heads:
                size = 2 * kv_heads * shape.head_dim * PAGE
                self.places[layer], self.stride = (self.stride, self.stride + size), self.stride + 2 * size
        self.pages = -(-context // PAGE) if self.places else 0
        self.pool = kernels.empty((self.pages, self.stride), np.uint8)  # MemoryError where it does not fit
        self.pool[...] = 0
        self.table = kernels.empty(self.pages, np.int32)
        self.table[...] = np.arange(self.pages)
        self.states = {}
        for layer, kv_heads in enumerate(shape.kv_heads):
            if not kv_heads:
                self.states[layer] = kernels.empty((shape.kernel - 1, shape.hidden), np.float32)
                self.states[layer][...] = 0

    @property
    def nbytes(self) -> int:
        return self.pool.nbytes + sum(state.nbytes for state in self.states.values())


class _Recording:
    """The model for ``block`` tokens at once, or fewer."""

    def __init__(self, runner: Runner, block: int) -> None:
        self.runner, self.block = runner, block
        self._kernels = runner.kernels
        self._buffer = CommandBuffer(self._kernels.best("replay", **_REPLAY))
        self._head = CommandBuffer(self._kernels.best("replay", **_REPLAY))
        self._counted: list[tuple[int, str, int]] = []  # commands, the name of what counts tokens, and how many it is for each
        self._placed: list[tuple[int, str]] = []  # commands of the cache, and how they call where it stands
        self._tokens = block
        shape = runner.shape
        queries, keys = shape.heads * shape.head_dim, max(shape.kv_heads) * shape.head_dim
        self._ids = self._room(block, dtype=np.uint32)
        self._positions = self._room(block, dtype=np.int32)
        self._frequencies = self._room(shape.rotated // 2)
        self._frequencies[...] = shape.frequencies
        self._x, self._h = self._room(block, shape.hidden), self._room(block, shape.hidden)
        self._q, self._mixed = self._room(block, queries), self._room(block, max(queries, shape.hidden))
        self._k, self._v = self._room(block, max(keys, 1)), self._room(block, max(keys, 1))
        self._bcx = self._room(block, 3 * shape.hidden) if shape.kernel else self._h
        self._gate, self._up = self._room(block, shape.feed_forward), self._room(block, shape.feed_forward)
        self._last, self.logits = self._room(1, shape.hidden), self._room(1, runner.vocabulary)
        self._layers()
        self._output()

    def run(self, ids: Sequence[int], last: bool) -> None:
        runner, count = self.runner, len(ids)
        self._ids[:count] = ids
        self._positions[:count] = np.arange(runner.position, runner.position + count)
        if count != self._tokens:
            for number, name, each in self._counted:
                self._buffer.patch(number, **{name: count * each})
            self._tokens = count
        for number, name in self._placed:
            if name == "position":
                self._buffer.patch(number, position=runner.position)
            else:
                self._buffer.patch(number, context=runner.position + count, offset=runner.position)
        self._buffer.replay()
        runner.history += map(int, ids)
        if last:
            self._last[0] = self._x[count - 1]
            self._head.replay()

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
        norm = {"x": self._last, "w": weight, "y": self._last, "rows": 1, "dim": shape.hidden, "eps": shape.eps}
        output = parts.output
        product = {"x": self._last, "w": output.w, "y": self.logits, "batch": 1, "rows": output.rows, "cols": output.cols}
        for operation, values in (("rms_norm", norm), (output.operation, {**product, "first": 0, "count": output.rows})):
            self._head.record(self._kernels.recorded(operation, **values), **values)

    def _convolution(self, layer: int) -> None:
        """h of the norm to h, which is added to x."""
        shape, state = self.runner.shape, self.runner.cache.states[layer]
        weight = self.runner.parts.vectors[f"blk.{layer}.shortconv.conv"]
        sizes = {"channels": shape.hidden, "kernel": shape.kernel}
        self._linear(f"blk.{layer}.shortconv.in_proj", self._h, self._bcx)
        self._record("lfm2_conv", {"tokens": 1}, state=state, bcx=self._bcx, w=weight, y=self._mixed, **sizes)
        self._linear(f"blk.{layer}.shortconv.out_proj", self._mixed, self._h)

    def _attention(self, layer: int, kv_heads: int) -> None:
        """The same."""
        shape, cache = self.runner.shape, self.runner.cache
        for name, y, heads in (("q", self._q, shape.heads), ("k", self._k, kv_heads), ("v", self._v, kv_heads)):
            self._linear(f"blk.{layer}.attn_{name}", self._h, y)
            if name != "v":
                self._head_norm(f"blk.{layer}.attn_{name}_norm", y, heads)
                self._rotate(y, heads)
        place = {
            "kv_heads": kv_heads,
            "dim": shape.head_dim,
            "page": PAGE,
            "pages": cache.pages,
            "count": cache.pages,
            "stride": cache.stride,
        }
        place |= {"pool": cache.pool, "table": cache.table, "keys_at": cache.places[layer][0], "values_at": cache.places[layer][1]}
        write = self._record("kv_write_f16", {"tokens": 1}, k=self._k, v=self._v, position=0, **place)
        attend = self._record(
            "paged_attention_f16", {"tokens": 1}, q=self._q, out=self._mixed, heads=shape.heads, context=self.block, offset=0,
            scale=shape.head_dim**-0.5, **place,
        )  # fmt: skip
        self._placed += [(write, "position"), (attend, "context")]
        self._linear(f"blk.{layer}.attn_output", self._mixed, self._h)

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
        self._record(weights.operation, {"batch": 1}, x=x, w=weights.w, y=y, **sizes)
        if bias is not None:
            tiled = self._room(self.block, bias.size)
            tiled[...] = bias
            self._record("add", {"n": bias.size}, x=tiled, y=y)

    def _add(self, x: np.ndarray) -> None:
        self._record("add", {"n": self.runner.shape.hidden}, x=x, y=self._x)

    def _record(self, operation: str, counted: dict[str, int], **values: Any) -> int:
        """counted: the number that grows with the tokens, and by how much each."""
        ((name, each),) = counted.items()
        values[name] = each * self.block
        number = self._buffer.record(self._kernels.recorded(operation, **values), **values)
        self._counted.append((number, name, each))
        return number

    def _room(self, *shape: int, dtype: Any = np.float32) -> np.ndarray:
        room = self._kernels.empty(shape, dtype)
        room[...] = 0  # recording tries kernels on it
        return room
