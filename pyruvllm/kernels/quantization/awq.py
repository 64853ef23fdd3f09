"""AWQ (Lin et al. 2024, arXiv:2306.00978): columns that meet large activations are rounded in finer steps.

Column j of the weights is multiplied by s_j = mean |x_j| ^ alpha before it is rounded, and activations are divided by s_j: their product
is the same, the rounding error of the column is divided. alpha is the one that leaves the least error of the output over the calibration;
alpha 0 is round-to-nearest, where the search of the K formats knows besides how much each column counts. Then each group of 32 values is
tried with its largest values clipped, which is kept where the whole error falls.
The division costs nothing at run time where it is folded into the norm before (matrix.QuantizedMatrix.folded).
"""

from collections.abc import Callable

import numpy as np

from ..reference import blocks
from .formats import Formats
from .matrix import QuantizedMatrix

ALPHAS = np.linspace(0, 1, 21)
CLIPS = np.arange(0.95, 0.6, -0.05, dtype=np.float32)  # of a group's largest value
GROUP = 32


def quantize(weights: np.ndarray, kind: str, x: np.ndarray, formats: Formats, progress: Callable[[int, int], None]) -> QuantizedMatrix:
    search = _Search(weights, kind, x, formats, progress)
    scale, made, error = search.best_scale()
    return QuantizedMatrix(kind, search.clipped(scale, made, error), weights.shape, "awq", scale)


class _Search:
    def __init__(self, weights: np.ndarray, kind: str, x: np.ndarray, formats: Formats, progress: Callable[[int, int], None]) -> None:
        self.weights, self.kind, self.formats, self._progress = weights, kind, formats, progress
        self.size, self.power = np.abs(x).mean(axis=0), np.square(x).mean(axis=0)
        self.x = x if len(x) <= x.shape[1] else np.linalg.qr(x, mode="r")  # the same errors from fewer rows
        self._done, self._total = 0, len(ALPHAS) + len(CLIPS) + 1

    def best_scale(self) -> tuple[np.ndarray, np.ndarray, float]:
        """The scale of the input, the blocks made with it and their error."""
        floor = max(float(self.size.max()) * 1e-4, 1e-30)  # a column that calibration never saw is still to be divided by something
        found = []
        for alpha in ALPHAS:
            scale = np.maximum(self.size, floor).astype(np.float64) ** alpha
            scale = (scale / np.sqrt(scale.max() * scale.min())).astype(np.float32)
            made = self._rounded(self.weights * scale, scale)
            found.append((scale, made, self._error(self._lost(made, scale))))
            found = [min(found, key=lambda each: each[2])]
        return found[0]

    def clipped(self, scale: np.ndarray, made: np.ndarray, error: float) -> np.ndarray:
        """Blocks of the weights clipped group by group, where that helps; else those that were made without."""
        rows, cols = self.weights.shape
        groups = (self.weights * scale).reshape(rows, -1, GROUP)
        most = np.abs(groups).max(axis=2, keepdims=True)
        tiles = self.x.reshape(len(self.x), -1, GROUP).transpose(1, 2, 0)
        gram = tiles @ tiles.transpose(0, 2, 1)  # (groups, 32, 32): what an error within a group costs
        best, limit = self._costs(self._lost(made, scale), gram), most.copy()
        for clip in CLIPS:
            tried = self._rounded(np.clip(groups, -clip * most, clip * most).reshape(rows, cols), scale)
            costs = self._costs(self._lost(tried, scale), gram)
            better = costs < best
            best, limit = np.where(better, costs, best), np.where(better[:, :, None], clip * most, limit)
        tried = self._rounded(np.clip(groups, -limit, limit).reshape(rows, cols), scale)
        return tried if self._error(self._lost(tried, scale)) < error else made

    def _rounded(self, values: np.ndarray, scale: np.ndarray) -> np.ndarray:
        self._progress(self._done, self._total)
        self._done += 1
        importance = self.power / scale**2
        importance = np.minimum(importance / max(float(importance.mean()), 1e-30), blocks.MOST_IMPORTANCE).astype(np.float32)
        return self.formats.quantize(self.kind, values.clip(-blocks.LIMIT, blocks.LIMIT), importance)

    def _lost(self, made: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return self.formats.dequantize(self.kind, made, self.weights.shape) / scale - self.weights

    def _error(self, lost: np.ndarray) -> float:
        return float(np.square(self.x @ lost.T).sum(dtype=np.float64))

    def _costs(self, lost: np.ndarray, gram: np.ndarray) -> np.ndarray:
        """(rows, groups): the squared error in the output that each group would cause alone."""
        lost = lost.reshape(len(lost), -1, GROUP).transpose(1, 0, 2)  # (groups, rows, 32)
        return np.einsum("grc,grc->rg", lost @ gram, lost)
