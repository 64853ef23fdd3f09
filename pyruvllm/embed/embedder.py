"""What makes a vector of a text."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from .space import Space

Progress = Callable[[int, int], None]  # (done, total)


class Embedder(Protocol):
    space: Space

    async def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> np.ndarray:
        """(n, 768) float32 of unit length, in the order of ``texts``. An empty text raises EmbeddingError with its place."""

    def count(self, text: str) -> int:
        """Tokens of ``text`` in this model, without the special ones."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of ``text`` begins and ends, in characters."""
