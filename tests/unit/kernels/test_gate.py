import numpy as np
import pytest

from pyruvllm.errors import OperandError


def arguments(rng, w_rank: int, u_rank: int, inputs: int = 6, hidden: int = 5) -> dict:
    shapes = {"w1": (hidden, w_rank), "w2": (inputs, w_rank), "u1": (hidden, u_rank), "u2": (hidden, u_rank), "b_z": hidden, "b_h": hidden}
    arrays = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return {**arrays, "inputs": inputs, "hidden": hidden, "w_rank": w_rank, "u_rank": u_rank, "zeta": 0.7, "nu": 0.1}


def run(kernel, given: dict, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """x (batch, steps, inputs), h (batch, hidden): the state after all steps."""
    after = h.copy()
    kernel(**given, x=x, h=after, batch=len(x), steps=x.shape[1])
    return after


def test_sequences_do_not_touch_each_other_and_steps_follow_each_other(library):
    rng = np.random.default_rng(4)
    given, x, h = arguments(rng, 3, 2), rng.standard_normal((4, 3, 6), np.float32), rng.standard_normal((4, 5), np.float32)
    for name in library.names("gate_step"):
        kernel = library.kernel("gate_step", name)
        together = run(kernel, given, x, h)
        for sequence in range(4):
            state = h[sequence : sequence + 1]
            for step in range(3):
                state = run(kernel, given, x[sequence : sequence + 1, step : step + 1], state)
            np.testing.assert_allclose(together[sequence], state[0], rtol=1e-6, atol=1e-7)


def test_an_open_gate_keeps_the_state_and_a_shut_one_forgets_it(library):
    rng = np.random.default_rng(5)
    x, h = rng.standard_normal((2, 1, 6), np.float32), rng.standard_normal((2, 5), np.float32)
    given = {**arguments(rng, 3, 2), "nu": 0.0, "zeta": 1.0}
    for name in library.names("gate_step"):
        kernel = library.kernel("gate_step", name)
        np.testing.assert_allclose(run(kernel, {**given, "b_z": np.full(5, 90, np.float32)}, x, h), h, atol=1e-6)
        shut = {**given, "b_z": np.full(5, -90, np.float32), "u1": np.zeros((5, 2), np.float32)}
        np.testing.assert_array_equal(run(kernel, shut, x, h), run(kernel, shut, x, h + 1))


def test_a_rank_without_its_second_factor_is_refused(library):
    rng = np.random.default_rng(6)
    x, h = np.zeros((1, 1, 6), np.float32), np.zeros((1, 5), np.float32)
    for name in library.names("gate_step"):
        for missing, word in (("w2", "w_rank"), ("u2", "u_rank")):
            with pytest.raises(OperandError, match=f"gate_step: {word} holds a value that cannot be"):
                run(library.kernel("gate_step", name), {**arguments(rng, 3, 2), missing: None}, x, h)
