"""The parameters of the policies whose meaning is known: what they are called, what they may be, what they are by default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import ConfigError

MODELS = ("350M", "700M", "1.2B", "2.6B")
CONTEXTS = (256, 512, 1024, 2048, 4096)  # tokens
PRECISIONS = ("fp16", "q8", "q4_k", "q4_0")


def names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


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
    """Parameters of a "quantization" policy: at which precision the KV cache of some layers is kept."""

    layer_range: tuple[int, int] = (0, 16)  # first layer, and the one after the last
    precision: str = "q4_0"
    activation_threshold: float = 0.0  # largest activation up to which this precision is used; 0: always
    memory_budget: int = 256 * 2**20  # bytes
    quality_weight: float = 0.5  # 0: only speed counts, 1: only quality

    def __post_init__(self) -> None:
        layers = tuple(self.layer_range) if isinstance(self.layer_range, (list, tuple)) else ()
        if len(layers) != 2 or not all(type(layer) is int for layer in layers) or not 0 <= layers[0] < layers[1]:
            raise ConfigError(f"layer_range is (first, one after the last), 0 <= first < last, not {self.layer_range!r}")
        object.__setattr__(self, "layer_range", layers)  # JSON has lists only
        one_of("precision", self.precision, PRECISIONS)
        between("activation_threshold", self.activation_threshold, 0, math.inf)
        if type(self.memory_budget) is not int or self.memory_budget < 1:
            raise ConfigError(f"memory_budget is a number of bytes above 0, not {self.memory_budget!r}")
        between("quality_weight", self.quality_weight, 0, 1)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "QuantizationPolicy":
        """From the JSON of ``PolicyEntry.parameters``. ConfigError."""
        return built(cls, parameters)


TYPED = {"router": RouterPolicy, "quantization": QuantizationPolicy}  # types whose parameters are known; "ewc", "pattern" ... are free
