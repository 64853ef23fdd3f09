"""Sampling against its definitions, and that what is drawn has the distribution that it says."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyruvllm.errors import ConfigError, KernelError
from pyruvllm.models.sampling import Sampler, Sampling
from tests.registries import steady

LOGITS = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-30, 30, width=32))
PLAIN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@given(LOGITS, st.floats(0.05, 5))
def test_without_limits_it_is_softmax(logits, temperature):
    ids, shares = Sampler(Sampling(**{**PLAIN, "temperature": temperature})).distribution(logits)
    expected = softmax(logits.astype(np.float64) / temperature)
    assert np.allclose(shares, expected[ids]) and sorted(ids) == np.flatnonzero(expected > 0).tolist()


@given(LOGITS, st.integers(1, 80), st.floats(0.01, 1), st.floats(0, 1))
def test_limits_keep_what_their_definitions_say(logits, k, p, least):
    ids, shares = Sampler(Sampling(1.0, k, p, least)).distribution(logits)
    order = np.argsort(-logits.astype(np.float64), kind="stable")[:k]
    expected = softmax(logits.astype(np.float64)[order])
    nucleus = order[: int(np.searchsorted(np.cumsum(expected), p - 1e-12)) + 1] if p < 1 else order
    kept = [id for id, share in zip(order, expected, strict=True) if id in nucleus and share >= least * expected[0] * (1 - 1e-12)]
    assert ids.tolist()[: len(kept)] == kept[: len(ids)] and abs(len(ids) - len(kept)) <= 1  # a sum that is p up to rounding
    assert shares.sum() == pytest.approx(1) and (np.diff(shares) <= 1e-15).all()


@given(LOGITS)
def test_without_temperature_the_likeliest_is_chosen(logits):
    assert Sampler(Sampling(temperature=0)).choose(logits) == logits.argmax()
    assert Sampler(Sampling(top_k=1)).choose(logits) == logits.argmax()


def test_what_is_drawn_has_the_distribution_it_says():
    logits = np.array([2.0, 1.0, 0.5, -1.0, 3.0], np.float32)
    sampler = Sampler(Sampling(**PLAIN, seed=7))
    counts = np.bincount([sampler.choose(logits) for _ in range(20_000)], minlength=5)
    expected = softmax(logits.astype(np.float64)) * 20_000
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # chi-squared, 4 degrees of freedom: 1 in 1000


def test_the_same_seed_gives_the_same_tokens():
    logits = np.random.default_rng(1).standard_normal((50, 100))
    draws = [[Sampler(Sampling(seed=seed)).choose(row) for row in logits] for seed in (3, 3, 4)]
    assert draws[0] == draws[1] != draws[2]


def test_penalties():
    logits = np.array([2.0, -2.0, 1.0, 0.0])
    sampler = Sampler(Sampling(**PLAIN, repetition_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25, last=3))
    ids, shares = sampler.distribution(logits, [2, 0, 0, 1])  # the first is too long ago
    expected = softmax(np.array([1.0 - 1.0 - 0.25, -4.0 - 0.5 - 0.25, 1.0, 0.0]))
    assert np.allclose(shares, expected[ids])


def test_nan_is_never_chosen_and_nothing_to_choose_is_said():
    assert Sampler(Sampling()).choose(np.array([np.nan, 1.0, -np.inf])) == 1
    for logits in ([np.nan], [-np.inf, -np.inf], [np.inf, 0]):
        with pytest.raises(ConfigError, match="nothing can be chosen"):
            Sampler(Sampling()).choose(np.array(logits))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", -1), ("temperature", "hot"), ("top_k", -1), ("top_k", 1.5), ("top_p", 0), ("top_p", 2), ("min_p", -0.1)),
        *(("seed", -1), ("repetition_penalty", 0)),
    ],
)
def test_settings_that_cannot_be_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        Sampling(**{name: value})


@pytest.mark.parametrize("size", [300, 5200, 65536])
def test_the_likeliest_of_many_are_those_of_a_sort(size):
    random = np.random.default_rng(size)
    for logits in (random.standard_normal(size).round(1), np.where(random.random(size) < 0.001, 1.0, -np.inf), np.zeros(size)):
        logits = logits.astype(np.float32)
        for k in (1, 40, 299):
            expected = [id for id in np.argsort(-logits, kind="stable")[:k] if logits[id] > -np.inf]
            assert Sampler._best(logits, k)[: len(expected)].tolist() == expected


@pytest.fixture(scope="module")
def kernels():
    return asyncio.run(steady())


@pytest.mark.parametrize("size", [4096, 5203, 65536])
def test_by_kernels_the_same_is_drawn_from(kernels, size):
    random = np.random.default_rng(size)
    room = kernels.empty((2, size), np.float32)
    room[0] = random.standard_normal(size) * 4
    room[1] = np.where(random.random(size) < 0.01, random.standard_normal(size).round(1), random.choice([-np.inf, np.nan], size))
    few = np.full(size, np.nan, np.float32)
    few[[7, 3000]] = 1.0, 2.0
    for logits in (room[0], room[1], room[0].copy(), few):
        for limits in ({}, {"top_k": 5, "min_p": 0.1}, {"top_k": 0}, {"top_k": 300, "repetition_penalty": 2.0}):
            plain, by_kernels = Sampler(Sampling(**limits)), Sampler(Sampling(**limits), kernels)
            (ids, shares), (same, alike) = (each.distribution(logits, [1, 2, 3]) for each in (plain, by_kernels))
            assert ids.tolist() == same.tolist() and np.array_equal(shares, alike)
        assert by_kernels._topk(logits, 40) is not None
    with pytest.raises(ConfigError, match="nothing can be chosen"):
        by_kernels.choose(np.full(size, np.nan, np.float32))


def test_without_a_right_kernel_numpy_draws(kernels, monkeypatch):
    def broken(*_, **__):
        raise KernelError("broken")

    logits = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    monkeypatch.setattr(kernels, "recorded", broken)
    assert Sampler(Sampling(seed=1), kernels).choose(logits) == Sampler(Sampling(seed=1)).choose(logits)
    monkeypatch.setattr(kernels, "recorded", lambda operation, **given: kernels.library.kernel(operation, "reference"))
    assert Sampler(Sampling(seed=1), kernels)._topk(logits, 40) is None


@pytest.mark.parametrize("limits", [{"top_p": 0.9}, {"top_p": 0.99999}, {"top_p": 1.0, "min_p": 0.01}], ids=str)
@pytest.mark.parametrize("spread", [0.1, 1.0, 6.0])
def test_without_top_k_all_of_many_count(limits, spread):
    logits = (np.random.default_rng(1).standard_normal(5000) * spread).astype(np.float32)
    ids, shares = Sampler(Sampling(1.0, 0, **limits)).distribution(logits)
    all_ids, all_shares = Sampler(Sampling(1.0, 5000, **limits)).distribution(logits)
    assert abs(len(ids) - len(all_ids)) <= 1 and np.allclose(shares[:100], all_shares[:100])
    assert (ids[: len(all_ids)] == all_ids[: len(ids)]).all()
