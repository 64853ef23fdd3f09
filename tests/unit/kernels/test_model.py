import numpy as np
import pytest

from pyruvllm.errors import OperandError


def each(library, operation: str) -> list:
    return [library.kernel(operation, name) for name in library.names(operation)]


def test_one_norm_of_rows_is_the_norm_of_each_row(library):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((6, 64), np.float32), np.ones(64, np.float32)
    for kernel in each(library, "rms_norm"):
        y = np.zeros_like(x)
        kernel(x=x, w=w, y=y, rows=6, dim=64, eps=0.0)
        np.testing.assert_allclose(np.mean(y.astype(float) ** 2, axis=1), 1, rtol=1e-6)
        kernel(x=y, w=w, y=y, rows=6, dim=64, eps=0.0)  # in place
        np.testing.assert_allclose(np.mean(y.astype(float) ** 2, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize(("dim", "rot"), [(64, 64), (64, 32), (10, 6), (7, 2)])
def test_rotary_products_depend_on_distance_alone(library, interleaved, dim, rot):
    """What rotary embedding is for; and turning back gives what was there."""
    rng = np.random.default_rng(dim + rot)
    q, k = rng.standard_normal((2, dim)).astype(np.float32)
    frequencies = (1e4 ** (-np.arange(rot // 2) / (rot // 2))).astype(np.float32)
    far = 100_000
    for kernel in each(library, "rotary"):

        def turned(x, position, kernel=kernel):
            x = x.copy()
            at = np.array([position], np.int32)
            kernel(x=x, positions=at, frequencies=frequencies, tokens=1, heads=1, dim=dim, rot=rot, interleaved=interleaved)
            return x

        near = turned(q, 7) @ turned(k, 3)
        np.testing.assert_allclose(turned(q, far + 7) @ turned(k, far + 3), near, atol=1e-5)
        np.testing.assert_allclose(turned(turned(q, far), -far), q, atol=2e-6)
        assert (turned(q, far)[rot:] == q[rot:]).all()


def test_rotary_needs_pairs(library):
    x, at = np.zeros(5, np.float32), np.zeros(1, np.int32)
    for kernel in each(library, "rotary"):
        for wrong in ({"rot": 5}, {"rot": 6}, {"interleaved": 2}):
            given = {"dim": 5, "rot": 4, "interleaved": 0, **wrong}
            with pytest.raises(OperandError, match="rotary needs"):
                kernel(x=x, positions=at, frequencies=np.zeros(3, np.float32), tokens=1, heads=1, **given)


def convolved(kernel, state, bcx, w, history=None):
    tokens, channels = len(bcx), bcx.shape[1] // 3
    y = np.zeros((tokens, channels), np.float32)
    kernel(state=state, bcx=bcx, w=w, y=y, history=history, tokens=tokens, channels=channels, kernel=w.shape[1])
    return y


@pytest.mark.parametrize(("tokens", "channels", "taps"), [(9, 16, 3), (4, 7, 3), (5, 6, 1), (6, 5, 8), (1, 1, 2)])
def test_one_token_after_another_is_all_at_once(library, tokens, channels, taps):
    rng = np.random.default_rng(tokens)
    bcx, w = rng.standard_normal((tokens, 3 * channels), np.float32), rng.standard_normal((channels, taps), np.float32)
    for kernel in each(library, "lfm2_conv"):
        start = rng.standard_normal((taps - 1, channels), np.float32)
        whole, stepped = start.copy(), start.copy()
        y = convolved(kernel, whole, bcx, w)
        steps = [convolved(kernel, stepped, bcx[t : t + 1], w)[0] for t in range(tokens)]
        np.testing.assert_array_equal(y, steps)
        np.testing.assert_array_equal(whole, stepped)


def test_the_history_holds_the_state_after_each_token(library):
    """So that drafted tokens can be taken back."""
    rng = np.random.default_rng(2)
    tokens, channels, taps = 5, 10, 3
    bcx, w = rng.standard_normal((tokens, 3 * channels), np.float32), rng.standard_normal((channels, taps), np.float32)
    for kernel in each(library, "lfm2_conv"):
        start = rng.standard_normal((taps - 1, channels), np.float32)
        history = np.zeros((taps - 1 + tokens, channels), np.float32)
        convolved(kernel, start.copy(), bcx, w, history)
        for kept in range(tokens + 1):
            state = start.copy()
            convolved(kernel, state, bcx[:kept], w)
            np.testing.assert_array_equal(history[kept : kept + taps - 1], state)


@pytest.mark.parametrize("taps", [0, 9])
def test_a_convolution_has_one_to_eight_taps(library, taps):
    for kernel in each(library, "short_conv"):
        room = np.zeros((9, 4), np.float32)
        with pytest.raises(OperandError, match="short_conv needs kernel"):
            kernel(state=room, x=room, w=room, y=room.copy(), tokens=1, channels=4, kernel=taps)
