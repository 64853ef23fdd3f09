import numpy as np

from . import case


@case(rtol=1e-6, atol=4e-6)  # the sums in front of the gates are off by 1e-6, and the steps add up
def gate_step(rng, size):
    few = rng.integers([0, 0, 1, 1], 8).tolist()
    batch, steps, inputs, hidden = (few, (3, 4, 70, 33), (1, 1, 128, 64))[size]
    w_rank, u_rank = (int(each) for each in rng.integers(0, (6, 20, 32)[size], 2))
    low_w, low_u = rng.integers(2, size=2)
    w_rank, u_rank = w_rank if low_w else inputs, u_rank if low_u else hidden

    def weights(*shape):
        return rng.standard_normal(shape, np.float32) * np.float32(0.3)

    return {
        "x": rng.standard_normal((batch, steps, inputs), np.float32),
        "h": weights(batch, hidden),
        "w1": weights(hidden, w_rank),
        "w2": weights(inputs, w_rank) if low_w else None,
        "u1": weights(hidden, u_rank),
        "u2": weights(hidden, u_rank) if low_u else None,
        "b_z": weights(hidden) + 1,
        "b_h": weights(hidden) + 1,
        "batch": batch,
        "steps": steps,
        "inputs": inputs,
        "hidden": hidden,
        "w_rank": w_rank,
        "u_rank": u_rank,
        "zeta": 0.73,
        "nu": 0.018,
    }
