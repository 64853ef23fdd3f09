"""The parameters of the policies whose meaning is known: what they are called, what they may be, what they are by default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import ConfigError

MODELS = ("350M", "700M", "1.2B", "2.6B")
CONTEXTS = (256, 512, 1024, 2048, 4096)  # tokens
PRECISIONS = ("fp16", "q8", "q4_k", "q4_0")  # the most precise first


def names(kind: type) -> list[str]:
    return [each.name for each in fields(kind)]


def built(kind: Any, values: Mapping[str, Any]) -> Any:
    unknown = sorted(set(values) - set(names(kind)))
    if unknown:
        raise ConfigError(f"{kind.__name__} has no {unknown[0]!r}; it has {', '.join(names(kind))}")
    return kind(**values)


def one_of(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if isinstance(value, bool) or value not in choices:
        raise ConfigError(f"{name} is {value!r}; one of {', '.join(map(str, choices))} would be right")


def between(name: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; a number between {low} and {high} would be right")


def at_least(name: str, value: Any, low: int, of: str) -> None:
    if type(value) is not int or value < low:
        raise ConfigError(f"{name} is {value!r}; a number of {of} of {low} or more would be right")


@dataclass(frozen=True)
class Fallback:
    """What is done when the router is not sure enough, or does not exist yet."""

    model: str = "1.2B"
    context_size: int = 2048  # tokens
    temperature: float = 0.7
    top_p: float = 0.9

    def __post_init__(self) -> None:
        one_of("model", self.model, MODELS)
        one_of("context_size", self.context_size, CONTEXTS)
        between("temperature", self.temperature, 0, 2)
        between("top_p", self.top_p, 0, 1)


@dataclass(frozen=True)
class RouterPolicy:
    """Parameters of a "router" policy. Without weights every request gets the fallback: the stated default."""

    fallback: Fallback = Fallback()
    confidence_threshold: float = 0.7  # below it the fallback is used
    cell_weights: Mapping[str, Any] | None = None  # of the FastGRNN cell
    head_biases: Mapping[str, Any] | None = None
    ewc_lambda: float = 2000.0  # strength of EWC's pull to the weights before
    training_loss: float | None = None  # at this checkpoint

    def __post_init__(self) -> None:
        between("confidence_threshold", self.confidence_threshold, 0, 1)
        between("ewc_lambda", self.ewc_lambda, 0, 1e9)
        if self.training_loss is not None:
            between("training_loss", self.training_loss, 0, math.inf)
        for name in ("cell_weights", "head_biases"):
            if not isinstance(getattr(self, name), (Mapping, type(None))):
                raise ConfigError(f"{name} is a dict or None, not {getattr(self, name)!r}")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "RouterPolicy":
        """From the JSON of ``PolicyEntry.parameters``. ConfigError."""
        fallback = parameters.get("fallback", {})
        if not isinstance(fallback, Mapping):
            raise ConfigError(f"fallback is a dict of {', '.join(names(Fallback))}, not {fallback!r}")
        return built(cls, {**parameters, "fallback": built(Fallback, fallback)})


@dataclass(frozen=True)
class QuantizationPolicy:
    """Parameters of a "quantization" policy: how the two tiers of the KV cache of some layers are kept.

    What they come to for a session that matters so much, under that pressure, is decided by ``cache.quantize.decide``.
    """

    layer_range: tuple[int, int] = (0, 16)  # first layer, and the one after the last
    precision: str = "q4_0"  # the least that older tokens are kept at
    activation_threshold: float = 0.0  # largest activation up to which this precision is used; 0: always
    memory_budget: int = 256 * 2**20  # bytes, of all sessions
    quality_weight: float = 0.5  # 0: only speed counts, 1: only quality
    tail_length: int = 256  # newest tokens that are kept as float16: a multiple of 16, a page of the cache

    def __post_init__(self) -> None:
        layers = tuple(self.layer_range) if isinstance(self.layer_range, (list, tuple)) else ()
        if len(layers) != 2 or not all(type(layer) is int for layer in layers) or not 0 <= layers[0] < layers[1]:
            raise ConfigError(f"layer_range is (first, one after the last), 0 <= first < last, not {self.layer_range!r}")
        object.__setattr__(self, "layer_range", layers)  # JSON has lists only
        one_of("precision", self.precision, PRECISIONS)
        between("activation_threshold", self.activation_threshold, 0, math.inf)
        at_least("memory_budget", self.memory_budget, 1, "bytes")
        between("quality_weight", self.quality_weight, 0, 1)
        at_least("tail_length", self.tail_length, 0, "tokens")
        if self.tail_length % 16:
            raise ConfigError(f"tail_length is {self.tail_length} tokens; a multiple of 16 would be right")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "QuantizationPolicy":
        """From the JSON of ``PolicyEntry.parameters``. ConfigError."""
        return built(cls, parameters)


@dataclass(frozen=True)
class EwcPolicy:
    """Parameters of an "ewc" policy: what holds weights near those of before (EWC; Kirkpatrick et al. 2017, online: Schwarz et al. 2018).

    ``weights`` are those it pulls to; the entry's ``fisher_diagonal`` says how strongly each, and has one value for each of them.
    """

    task: str = ""  # what was learned when they were taken
    ewc_lambda: float = 2000.0
    fisher_decay: float = 0.99  # of the Fisher information before, when new is added
    drift_threshold: float = 0.5  # change of the inputs from which on it is another task
    samples: int = 0  # that the Fisher information was measured on
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task, str):
            raise ConfigError(f"task is a name, not {self.task!r}")
        between("ewc_lambda", self.ewc_lambda, 0, 1e9)
        between("fisher_decay", self.fisher_decay, 0, 1)
        between("drift_threshold", self.drift_threshold, 0, math.inf)
        at_least("samples", self.samples, 0, "samples")
        if self.weights is not None:
            weights = tuple(self.weights) if isinstance(self.weights, (list, tuple)) else (None,)
            if not all(isinstance(weight, (int, float)) and math.isfinite(weight) for weight in weights):
                raise ConfigError("weights are a list of finite numbers, or None")
            object.__setattr__(self, "weights", weights)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "EwcPolicy":
        """From the JSON of ``PolicyEntry.parameters``. ConfigError."""
        return built(cls, parameters)


@dataclass(frozen=True)
class PatternPolicy:
    """Parameters of a "pattern" policy: what is one pattern, which are used, how they fade, and how many there may be."""

    similarity: float = 0.85  # cosine from which on what is learned becomes part of a pattern
    minimum_quality: float = 0.3  # below it a pattern is not matched
    half_life_days: float = 30.0  # without use
    capacity: int = 100_000
    clusters: int = 100  # that deep consolidation gathers patterns into

    def __post_init__(self) -> None:
        between("similarity", self.similarity, 0, 1)
        between("minimum_quality", self.minimum_quality, 0, 1)
        between("half_life_days", self.half_life_days, 1e-6, 1e6)
        at_least("capacity", self.capacity, 1, "patterns")
        at_least("clusters", self.clusters, 1, "clusters")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "PatternPolicy":
        """From the JSON of ``PolicyEntry.parameters``. ConfigError."""
        return built(cls, parameters)


@dataclass(frozen=True)
class KernelPolicy:
    """Parameters of a "kernel" policy: what was measured of the kernels of one pack in one engine."""

    pack: str
    engine: str
    version: int = 0  # counts up with each time it is written
    statistics: Mapping[str, Any] = field(default_factory=dict)
    tested: Mapping[str, Any] = field(default_factory=dict)  # kernels that were found right, and how long their self-tests took

    def __post_init__(self) -> None:
        for name in ("pack", "engine"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} is a name, not {getattr(self, name)!r}")
        at_least("version", self.version, 0, "writes")
        for name in ("statistics", "tested"):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigError(f"{name} are a dict, not {getattr(self, name)!r}")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "KernelPolicy":
        """From the JSON of ``PolicyEntry.parameters``. ConfigError."""
        missing = [name for name in ("pack", "engine") if name not in parameters]
        if missing:
            raise ConfigError(f"a kernel policy names its {missing[0]}")
        return built(cls, parameters)


Policy = RouterPolicy | QuantizationPolicy | EwcPolicy | PatternPolicy | KernelPolicy
TYPED: dict[str, type[Policy]] = {
    "router": RouterPolicy,
    "quantization": QuantizationPolicy,
    "ewc": EwcPolicy,
    "pattern": PatternPolicy,
    "kernel": KernelPolicy,
}  # any other type is free: its parameters are JSON
