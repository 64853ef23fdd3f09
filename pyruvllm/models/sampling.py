"""Which token comes next: from logits to one choice.

Top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024), repetition penalty (Keskar et al. 2019, CTRL). In this
order: what is allowed, penalties, temperature, top-k, top-p, min-p, and a draw.

The draw is a Gumbel race (Gumbel 1954; Maddison et al. 2014): every token's logarithm gets noise that depends on seed, place and token
alone, and the largest wins. So the same seed gives the same text however it was worked out: one token at a time, or many at once of
which some were guessed (models/speculative.py), and two models that nearly agree nearly always draw the same token.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from ..kernels.registry import KernelRegistry
from .topk import TopK

GROUP = 64  # logits of which only the largest is looked at, unless that is among the likeliest
FEW = 1024  # tokens that top-p and min-p mostly choose from


@dataclass(frozen=True)
class Sampling:
    """temperature 0: always the most likely token. 0 for top_k, 1 for top_p, 0 for min_p, 1 and 0 for penalties: without them."""

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # logits of tokens that were there are divided by it where above 0, multiplied below
    frequency_penalty: float = 0.0  # taken off a token's logit for each time it was there
    presence_penalty: float = 0.0  # taken off once
    last: int = 256  # tokens that penalties look back at
    seed: int | None = None  # None: from the system

    def __post_init__(self) -> None:
        bounds = {"temperature": (0, 100), "top_p": (0, 1), "min_p": (0, 1), "repetition_penalty": (1e-3, 1e3)}
        bounds |= {"frequency_penalty": (-10, 10), "presence_penalty": (-10, 10)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}; a number between {low} and {high} would be right")
        if self.top_p == 0:
            raise ConfigError("top_p is 0, which leaves no token; above 0 to 1 would be right")
        for name in ("top_k", "last"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise ConfigError(f"{name} is {value!r}; an integer of 0 or more would be right")
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0):
            raise ConfigError(f"seed is {self.seed!r}; an integer of 0 or more, or None, would be right")


class Sampler:
    """kernels: that computed the logits; without them numpy looks for the likeliest."""

    def __init__(self, sampling: Sampling, kernels: KernelRegistry | None = None) -> None:
        self.sampling = sampling
        self._topk = TopK(kernels)
        self._key = _mixed(secrets.randbits(64) if sampling.seed is None else sampling.seed)
        self._drawn = 0

    def choose(self, logits: np.ndarray, before: Sequence[int] = (), place: int | None = None, allowed: np.ndarray | None = None) -> int:
        """One token of logits (vocabulary,) after those before, of which the last ones are penalised.

        place: of the token in the text, which decides the draw; None: the next one. allowed: bool (vocabulary,). Raises ConfigError for
        logits of which none that is allowed is a number above minus infinity.
        """
        place = self._drawn if place is None else place
        self._drawn = place + 1
        ids, shares = self.distribution(logits, before, allowed)
        return int(ids[0]) if len(ids) == 1 else int(ids[(np.log(shares) + self._noise(place, ids)).argmax()])

    def distribution(
        self, logits: np.ndarray, before: Sequence[int] = (), allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is drawn from: tokens (n,) int64, the most likely first, and their probabilities (n,) float64, which add up to 1."""
        chosen = self.sampling
        values = self._penalised(logits, before, allowed)
        count = chosen.top_k or FEW if chosen.temperature else 1
        ids = self._topk(values, count) if 1 < count < values.size else None
        if ids is None:
            ids = self._best(values, count)
            if len(ids) and np.isnan(values[ids[0]]):
                values = _numbers(values)
                ids = self._best(values, count)
        top = values[ids[0]] if len(ids) else -np.inf
        if not np.isfinite(top):
            raise ConfigError(f"the largest of {values.size} logits is {top}: nothing can be chosen")
        if not chosen.temperature:
            return ids, np.ones(1)
        powers = np.exp((values[ids].astype(np.float64) - top) / chosen.temperature)
        total = powers.sum()
        if not chosen.top_k and values.size > FEW:
            values = _numbers(values)
            total = np.exp((values.astype(np.float64) - top) / chosen.temperature).sum()
            if not (powers.sum() >= chosen.top_p * total and chosen.top_p < 1 or powers[-1] < chosen.min_p * powers[0]):
                ids = self._best(values, 0)
                powers = np.exp((values[ids].astype(np.float64) - top) / chosen.temperature)
        kept = powers > 0
        if chosen.top_p < 1:
            before_it = np.cumsum(powers) - powers
            kept &= before_it < chosen.top_p * total
        if chosen.min_p > 0:
            kept &= powers >= chosen.min_p * powers[0]
        return ids[kept], powers[kept] / powers[kept].sum()

    def _penalised(self, logits: np.ndarray, before: Sequence[int], allowed: np.ndarray | None) -> np.ndarray:
        chosen, values = self.sampling, np.asarray(logits).reshape(-1)
        plain = (chosen.repetition_penalty, chosen.frequency_penalty, chosen.presence_penalty) == (1, 0, 0) or not chosen.last
        values = values if values.dtype == np.float32 else values.astype(np.float64)
        if allowed is not None:
            values = np.where(allowed, values, values.dtype.type(-np.inf))
        if plain:
            return values
        values = values.copy()
        counts = Counter(before[-chosen.last :])
        if counts:
            ids, times = np.array(list(counts)), np.array(list(counts.values()))
            values[ids] = np.where(values[ids] > 0, values[ids] / chosen.repetition_penalty, values[ids] * chosen.repetition_penalty)
            values[ids] -= chosen.frequency_penalty * times + chosen.presence_penalty
        return values

    def _noise(self, place: int, ids: np.ndarray) -> np.ndarray:
        """(n,) float64, Gumbel distributed: of these tokens at this place."""
        words = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP) + np.uint64(_mixed(self._key + place))
        for shift, factor in _ROUNDS:
            words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
        words ^= words >> np.uint64(31)
        return -np.log(-np.log(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53))

    @staticmethod
    def _best(values: np.ndarray, k: int) -> np.ndarray:
        """The k likeliest tokens, or all, the likeliest first; of equal ones the first. Where some are NaN: one of these."""
        if k == 1 and values.size:
            return values.argmax(keepdims=True)
        if not 0 < k < values.size:
            order = np.argsort(-values, kind="stable")
            return order[-1:] if values.size and np.isnan(values[order[-1]]) else order
        groups = values.size // GROUP if values.size >= GROUP * k else 0
        rows, rest = values[: groups * GROUP].reshape(GROUP, groups), values[groups * GROUP :]  # a group is a column
        tops = np.append(rows.max(0), rest) if groups else values
        largest = np.partition(tops, -k)[-k:]
        if np.isnan(largest).any():
            return np.flatnonzero(np.isnan(values))[:1]
        least = max(largest[0], np.finfo(values.dtype).min)  # the k-th of the groups' largest is no larger than the k-th of all
        found = np.flatnonzero(tops >= least)
        inside = found[: np.searchsorted(found, groups)]
        row, column = np.divmod(np.flatnonzero(rows[:, inside] >= least), max(len(inside), 1))
        ids = np.append(row * groups + inside[column], found[len(inside) :] + groups * (GROUP - 1))
        return ids[np.argsort(-values[ids], kind="stable")][:k]


def _numbers(values: np.ndarray) -> np.ndarray:
    """With minus infinity for NaN."""
    wrong = np.isnan(values)
    return np.where(wrong, values.dtype.type(-np.inf), values) if wrong.any() else values


_STEP = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def _mixed(number: int) -> int:
    """SplitMix64 (Steele, Lea and Flood 2014) of a number, of which 64 bits at a time count."""
    word = 0
    while True:
        word = (word + number + _STEP) % 2**64
        for shift, factor in _ROUNDS:
            word = (word ^ (word >> shift)) * factor % 2**64
        word ^= word >> 31
        number >>= 64
        if not number:
            return word
