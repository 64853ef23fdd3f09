"""The levels that a block format offers to a column, while the columns before it are rounded already.

Formats round whole blocks. A method that goes column by column (gptq.py) needs a block's scales when it begins: they are fitted to the
values as they are then, a group's (the columns that share a scale) when the group is reached, in units that its block has fixed.
"""

from dataclasses import dataclass, field

import numpy as np

from ..reference import blocks

# q4_0 may have any scale; steps between zero and a group's largest value, the candidates (ggml's own rule is 8).
_Q4_0_STEPS = np.arange(6.0, 9.0, 0.25, dtype=np.float32)


@dataclass
class Grid:
    """One block of every row. For each group: ``begin``, then ``nearest`` for its columns; ``blocks`` in the end.

    values (rows, columns of a block) and weights of its columns: what the units of the K formats are chosen by.
    """

    kind: str
    values: np.ndarray
    weights: np.ndarray
    group: int = field(init=False)  # columns that share a scale
    lowest: int = field(init=False)
    highest: int = field(init=False)

    def __post_init__(self) -> None:
        self.group = 16 if self.kind == "q6_k" else 32
        self.lowest, self.highest = {"q8_0": (-127, 127), "q4_0": (-8, 7), "q4_k": (0, 15), "q6_k": (-32, 31)}[self.kind]
        weights = np.ascontiguousarray(np.broadcast_to(self.weights, self.values.shape))
        if self.kind == "q4_k":
            self._d, self._dmin, self._sc, self._m = blocks.scales_q4_k(self.values, weights)
        elif self.kind == "q6_k":
            self._d, self._sc = blocks.scales_q6_k(self.values, weights)

    def begin(self, at: int, values: np.ndarray) -> None:
        """The group of columns ``at`` ... of the block, (rows, group) as they are now."""
        j = at // self.group
        weights = np.ascontiguousarray(np.broadcast_to(self.weights[at : at + self.group], values.shape))
        low = np.zeros(len(values), np.float32)
        if self.kind == "q8_0":
            self._d = (np.abs(values).max(axis=1) / np.float32(127)).astype(np.float16)
            scale = self._d.astype(np.float32)
        elif self.kind == "q4_0":
            self._d = blocks.fit_scale(values, weights, 8, _Q4_0_STEPS).astype(np.float16)
            scale = self._d.astype(np.float32)
        elif self.kind == "q4_k":
            scale, low = blocks.fit_affine(values, weights)
            scale, self._sc[:, j] = _units(scale, self._d, 0, 63)
            low, self._m[:, j] = _units(low, self._dmin, 0, 63)
        else:
            scale, self._sc[:, j] = _units(blocks.fit_scale(values, weights, 32, blocks.SCALE_STEPS), self._d, -128, 127)
        self._scale, self._low = scale, low
        with np.errstate(divide="ignore"):
            self._to = np.where(scale == 0, np.float32(0), np.float32(1) / scale)

    def nearest(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) to the nearest levels, and to the values that these stand for."""
        levels = np.rint((column + self._low) * self._to).clip(self.lowest, self.highest)
        return levels, self._scale * levels - self._low

    def blocks(self, levels: np.ndarray) -> np.ndarray:
        """Levels (rows, columns of a block) to uint8 (rows, bytes of a block)."""
        match self.kind:
            case "q8_0":
                return blocks.pack_q8_0(self._d, levels)
            case "q4_0":
                return blocks.pack_q4_0(self._d, levels + 8)
            case "q4_k":
                return blocks.pack_q4_k(self._d, self._dmin, self._sc, self._m, levels)
        return blocks.pack_q6_k(self._d, self._sc, levels)


def _units(values: np.ndarray, unit: np.ndarray, lowest: int, highest: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest whole multiples of a float16 unit, and how many units they are."""
    unit = unit.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.where(unit == 0, np.float32(0), np.rint(values / unit)).clip(lowest, highest)
    return unit * count, count
