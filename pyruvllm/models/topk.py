"""The likeliest of many tokens, by the kernel ``topk``."""

import numpy as np

from ..errors import KernelError
from ..kernels.kernel import Call
from ..kernels.registry import KernelRegistry

MANY = 4096  # logits, below which numpy has them as soon


class TopK:
    """kernels: where the logits are too, at best; None, or one that has no right kernel: numpy has to do it."""

    def __init__(self, kernels: KernelRegistry | None) -> None:
        self._kernels = kernels
        self._calls: dict[tuple[int, int], Call | None] = {}  # by (logits, of which so many are wanted)

    def __call__(self, logits: np.ndarray, k: int) -> np.ndarray | None:
        """The k largest of float32 (vocabulary,): where they are, int64, falling, of equal ones the first first; NaN are left out.

        None where numpy has to find them.
        """
        if self._kernels is None or logits.size < MANY or logits.dtype != np.float32 or not logits.flags.c_contiguous:
            return None
        try:
            size = logits.size, k
            if size not in self._calls:
                self._calls[size] = self._bound(logits, k)
            call = self._calls[size]
            if call is None:
                return None
            call.set(x=logits)
            call()
        except KernelError:
            self._kernels = None
            return None
        found = call.values["indices"].astype(np.int64)
        return found[: k - int(np.isnan(call.values["values"]).sum())]

    def _bound(self, logits: np.ndarray, k: int) -> Call | None:
        assert self._kernels is not None
        given = {"x": logits, "values": self._kernels.empty(k, np.float32), "indices": self._kernels.empty(k, np.uint32)}
        kernel = self._kernels.recorded("topk", **given, n=logits.size, k=k)
        return None if kernel.name == "reference" else kernel.bind(**given, n=logits.size, k=k)
