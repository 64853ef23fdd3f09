"""Some tokens of one sequence with the logits after each, and the state of convolutions after each: what checking guesses takes."""

import numpy as np

from ..cache import Layout
from .adapter import Loaded
from .decoder import Runner
from .recording import Recording


class Guess(Recording):
    """block: tokens at most."""

    def __init__(self, runner: Runner, block: int, layout: Layout, rotate: bool, adapter: Loaded | None = None) -> None:
        self.rows = block
        self._history: list[np.ndarray] = []  # of each convolution: the columns before these tokens, and theirs
        super().__init__(runner, block, layout, rotate, adapter)

    def columns(self, tokens: int) -> list[np.ndarray]:
        """Of each convolution after so many of the tokens that were read last; overwritten by the next."""
        return [history[tokens : tokens + self.runner.shape.kernel - 1] for history in self._history]

    def _finish(self, count: int) -> None:
        self._last[:count] = self._x[:count]
        self._head.replay()

    def _count(self, count: int) -> None:
        if count != self._tokens:
            for number, name in enumerate(("rows", "batch")):
                self._head.patch(number, **{name: count})
        super()._count(count)

    def _filter(self, layer: int) -> None:
        shape, state = self.runner.shape, self._state[self.runner.shape.kv_heads[:layer].count(0)]
        self._history.append(self._room(shape.kernel - 1 + self.block, shape.hidden))
        operands = {"state": state, "bcx": self._bcx, "y": self._mixed, "history": self._history[-1]}
        self._record("lfm2_conv", {"tokens": 1}, **operands, **self._filters(layer))
