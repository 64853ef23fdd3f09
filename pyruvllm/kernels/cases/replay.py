"""What a buffer replays are kernels, which a random case cannot make: an empty one stands for its tables; tests record real ones."""

import numpy as np

from . import case


@case()
def replay(rng, size):
    tables = {name: np.zeros((0, 2), np.uint32) for name in ("commands", "structs", "regions")}
    counts = dict.fromkeys(("count", "kinds", "areas", "fields"), 0)
    return {**tables, "kernels": np.zeros((0, 33), np.uint32), "failed": np.zeros(1, np.uint32), **counts}
