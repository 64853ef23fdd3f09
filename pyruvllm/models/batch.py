"""One token of each of several sequences at once: the weights are read once for all of them."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..cache import Layout
from ..cache import Sequence as Cached
from ..errors import ConfigError
from .adapter import Loaded
from .decoder import Runner
from .recording import Recording


class Batch(Recording):
    """block: sequences at most, all with this layout, rotation and adapter. Row r of all arrays is sequence r's."""

    def __init__(self, runner: Runner, block: int, layout: Layout, rotate: bool, adapter: Loaded | None = None) -> None:
        self.rows = block
        self._each: list[list[tuple[int, str, int]]] = [[] for _ in range(block)]  # commands of each sequence alone
        super().__init__(runner, block, layout, rotate, adapter)

    def step(self, sequences: Sequence[Cached], ids: Sequence[int]) -> np.ndarray:
        """Takes one further token of each in; logits (sequences, vocabulary), overwritten by the next step.

        Raises ConfigError for sequences of another setting, twice the same one, no token, and while ``read`` is at work; what the cache
        raises where there is no room for one of them. Then nothing was taken in.
        """
        if self.runner.busy:
            raise ConfigError("the model is in the middle of reading a text; take the next step when that is read")
        for _ in self._steps(sequences, ids):
            pass
        return self.logits[: len(ids)]

    async def stepped(self, sequences: Sequence[Cached], ids: Sequence[int]) -> np.ndarray:
        """The same in slices, between which others have their turn; the sequences are to be left alone meanwhile."""
        async with self.runner.turn:
            for _ in self._steps(sequences, ids):
                await asyncio.sleep(0)
            return self.logits[: len(ids)]

    def _steps(self, sequences: Sequence[Cached], ids: Sequence[int]) -> Iterator[None]:
        runner, count = self.runner, len(sequences)
        self._check(sequences, ids)
        for sequence in sequences:
            runner.restate(sequence)
        for sequence in sequences:
            runner.cache.pool.pin(sequence.holding)
            runner.cache.reserve(sequence, 1)
        self._ids[:count] = ids
        self._positions[:count] = [len(sequence) for sequence in sequences]
        self._count(count)
        for slot, sequence in enumerate(sequences):
            self._all[slot].place(self._buffer, sequence, len(sequence), 1)
            self._states[slot] = sequence.state
        cuts = self._slices(count)
        for first, end in zip(cuts, cuts[1:], strict=False):
            if first:
                yield
            self._buffer.replay(first, end)
        self._last[:count] = self._x[:count]
        yield
        self._head.replay()
        for slot, sequence in enumerate(sequences):
            sequence.state[...] = self._states[slot]
            runner.cache.advance(sequence, [ids[slot]])

    def _check(self, sequences: Sequence[Cached], ids: Sequence[int]) -> None:
        runner, count = self.runner, len(sequences)
        if not 0 < count == len(ids) <= self.block or len(set(sequences)) < count:
            raise ConfigError(f"{count} sequences and {len(ids)} tokens; 1 to {self.block} different ones would be right")
        for sequence, id in zip(sequences, ids, strict=True):
            kept = sequence.layout, sequence.setting.rotate, runner.adapters.of(sequence.identity)
            if kept != (self.layout, self.rotate, self.adapter):
                raise ConfigError("a sequence is kept in another way than this batch was recorded for")
            if not 0 <= id < runner.vocabulary or len(sequence) >= runner.context:
                raise ConfigError(f"token {id} at {len(sequence)}: tokens are below {runner.vocabulary}, positions {runner.context}")

    def _count(self, count: int) -> None:
        if count != self._tokens:
            for slot, commands in enumerate(self._each):
                for number, name, each in commands:
                    self._buffer.patch(number, **{name: each if slot < count else 0})
            for number, name in enumerate(("rows", "batch")):
                self._head.patch(number, **{name: count})
        super()._count(count)

    def _slots(self) -> None:
        self._states = self._room(self.block, *self.runner.cache.form.states)
        self._all = [self._tiers_of(1) for _ in range(self.block)]

    def _filter(self, layer: int) -> None:
        number = self.runner.shape.kv_heads[:layer].count(0)
        for slot in range(self.block):
            row = slice(slot, slot + 1)
            arrays = {"state": self._states[slot, number], "bcx": self._bcx[row], "y": self._mixed[row]}
            self._alone(slot, "lfm2_conv", {"tokens": 1}, **arrays, **self._filters(layer))

    def _attend(self, layer: int) -> None:
        shape = self.runner.shape
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads[layer] * shape.head_dim
        # the projections of this layer lie as dense rows, whatever the arrays have room for
        q, mixed = (each.reshape(-1)[: self.block * queries].reshape(self.block, queries) for each in (self._q, self._mixed))
        k, v = (each.reshape(-1)[: self.block * keys].reshape(self.block, keys) for each in (self._k, self._v))
        for slot, tiers in enumerate(self._all):
            row = slice(slot, slot + 1)
            tiers.record(layer, partial(self._alone, slot), q[row], k[row], v[row], mixed[row])

    def _alone(self, slot: int, operation: str, counted: dict[str, int], **values: Any) -> int:
        """A command of one sequence."""
        ((name, each),) = counted.items()
        values[name] = each
        number = self._buffer.record(self._kernels.recorded(operation, **values), **values)
        self._each[slot].append((number, name, each))
        return number
