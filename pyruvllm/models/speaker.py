"""What generation needs of a model at work on one sequence: ``decoder.Runner`` and ``onnx_lm.OnnxRunner`` are such."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import numpy as np

from ..kernels.registry import KernelRegistry

GUESSED = 9  # tokens whose logits are asked for together, at most: one that is sure and eight guesses
Pace = Callable[[], Awaitable[None]]  # awaited between slices of work: others have their turn then, and who has to stop raises


class Speaker(Protocol):
    history: list[int]  # tokens that it has read
    context: int  # tokens that it has room for
    kernels: KernelRegistry | None  # that compute the logits; None where something else does

    @property
    def position(self) -> int:
        """How many it has read."""

    @property
    def vocabulary(self) -> int:
        """Rows of logits."""

    async def read(self, ids: Sequence[int], pace: Pace, every: bool = False) -> np.ndarray:
        """Reads further tokens; logits (1, vocabulary) float32 of what comes after the last, overwritten by the next call.

        every: (tokens, vocabulary) after each of at most GUESSED, of which ``rewind`` takes back those that were wrong at little cost.
        What ``pace`` raises stops it. Raises ConfigError where tokens are none or do not fit: then nothing was read.
        """

    def rewind(self, position: int) -> None:
        """Takes tokens back, until so many are left. What has to be worked out again for it is when it reads next."""

    def reset(self) -> None:
        """Takes all back."""
