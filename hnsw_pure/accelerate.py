"""How compiled code takes the place of the numpy in this package: it allocates the arrays it works on, searches them, and adds to them.

    index = HNSW(768, accelerator=accelerator)

An accelerator serves many indexes. What it computes is what the numpy here computes, up to rounding: an index that one made is opened
and changed by the other. Without one everything is numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from .codec import Codes
    from .graph import Graph
    from .table import VectorTable


class Accelerator(Protocol):
    def empty(self, shape: Any, dtype: Any) -> np.ndarray:
        """An array of any content that compiled code can see; every array of an index is allocated with this."""

    def bind(self, table: VectorTable, graph: Graph | None) -> BoundIndex:
        """What searches and changes this index. The arrays of both may be replaced, and grow, between its calls."""


class BoundIndex(Protocol):
    """One index, which is not empty, as an accelerator sees it.

    A search takes queries (q, dim) float32, q >= 1, as the caller gave them, neither checked nor scaled, and `allowed`, a mask over slots
    (top,) bool, or None for all. It returns ids (q, k) int64, best first, equal scores by id, -1 where there are fewer, and scores
    (q, k) float32, -inf there. Raises NonFiniteError, ZeroVectorError, as numpy would.
    """

    @property
    def met(self) -> int:
        """Slots that the walk for the last query met, if it was asked alone."""

    def scan(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The exact nearest."""

    def encode(self, rows: np.ndarray) -> Codes:
        """Codes of prepared vectors (n, dim), as the table's codec makes them."""

    def search(
        self, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, visits: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest that a walk through the graph finds. It gives fewer than k only where fewer exist; k <= ef.

        visits: slots that each search may meet before it opens no further list, if it has k hits.
        """

    def insert(self, slots: np.ndarray, entry: int, ef: int) -> np.ndarray:
        """Links slots (n,) int64, in this order, which the graph has enrolled with empty lists; entry: of the graph before, -1 if empty.

        ef: candidates per new node. Returns the runs of 256 slots (r,) in which lists or parents changed on the ground.
        """

    def unlink(self, slots: np.ndarray, ef: int) -> tuple[np.ndarray, np.ndarray]:
        """Removes every link to slots (n,) int64, as repair.py does; their own lists stay.

        Returns the runs of 256 slots (r,) in which lists or parents changed on the ground, and the upper layers (u,) that changed.
        """
