import numpy as np

from ...errors import OperandError


def gate_step(
    x: np.ndarray,
    h: np.ndarray,
    w1: np.ndarray,
    w2: np.ndarray | None,
    u1: np.ndarray,
    u2: np.ndarray | None,
    b_z: np.ndarray,
    b_h: np.ndarray,
    batch: int,
    steps: int,
    inputs: int,
    hidden: int,
    w_rank: int,
    u_rank: int,
    zeta: float,
    nu: float,
) -> None:
    """Kusupati et al., NeurIPS 2018, in float64. x (batch, steps, inputs); h (batch, hidden), inout; w1 (hidden, w_rank),
    w2 (inputs, w_rank), u1 and u2 (hidden, u_rank); zeta and nu are in 0 ... 1, after their sigmoid."""
    for name, given, rank, full in (("w", w2, w_rank, inputs), ("u", u2, u_rank, hidden)):
        if given is None and rank != full:
            raise OperandError(f"gate_step: {name}_rank holds a value that cannot be; without {name}2 it is {full}, not {rank}")
    w = matrix(w1, hidden, w_rank) if w2 is None else matrix(w1, hidden, w_rank) @ matrix(w2, inputs, w_rank).T  # (hidden, inputs)
    u = matrix(u1, hidden, u_rank) if u2 is None else matrix(u1, hidden, u_rank) @ matrix(u2, hidden, u_rank).T  # (hidden, hidden)
    state = matrix(h, batch, hidden)
    for step in range(steps):
        inner = x.reshape(-1)[: batch * steps * inputs].reshape(batch, steps, inputs)[:, step] @ w.T + state @ u.T  # (batch, hidden)
        z = 1 / (1 + np.exp(-inner - b_z.reshape(-1)[:hidden]))
        g = np.tanh(inner + b_h.reshape(-1)[:hidden])
        state = (zeta * (1 - z) + nu) * g + z * state
    h.reshape(-1)[: batch * hidden] = state.reshape(-1)


def matrix(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return x.reshape(-1)[: rows * columns].reshape(rows, columns).astype(np.float64)
