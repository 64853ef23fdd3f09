"""How exactly the keys and values of a conversation are kept, and how that is decided.

The newest tokens are float16; older ones 8 bits, or fewer by choice. Keys are quantised by channel and values by token (KIVI,
arXiv:2402.02750). The rotation by a Hadamard matrix spreads what stands out in a head over all its numbers (QuaRot, arXiv:2404.00456).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError
from .layout import KINDS, PAGE, Form, Layout

BATCH = 64  # tokens that become old together
TAIL = 256  # newest tokens in float16
PRECISIONS = {"fp16": "f16", "q8": "q8", "q4_k": "q8q4", "q4_0": "q4"}  # a policy's word for the least that is allowed


@dataclass(frozen=True)
class Setting:
    """tail: newest tokens in float16; old: kind of the older ones; rotate: by a Hadamard matrix; layers: (first, one after the last)
    that are quantised, None for all."""

    tail: int = TAIL
    old: str = "q8"
    rotate: bool = False
    layers: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.old not in KINDS:
            raise ConfigError(f"old is {self.old!r}; one of {', '.join(KINDS)} would be right")
        if type(self.tail) is not int or self.tail < 0 or self.tail % PAGE:
            raise ConfigError(f"tail is {self.tail!r} tokens; a multiple of {PAGE} would be right")

    def layout(self, form: Form) -> Layout:
        """Of the pages of old tokens."""
        return Layout.of(form, self.old, None if self.layers is None else range(*self.layers))


EXACT = Setting(old="f16")
ORDER = tuple(KINDS)  # best first


def lower(one: str, other: str) -> str:
    """The kind of fewer bits."""
    return max(one, other, key=ORDER.index)


def decide(
    parameters: Mapping[str, Any],
    *,
    importance: float = 0.5,
    pressure: float = 0.0,
    tail: int | None = None,
    chosen: Setting | None = None,
) -> Setting:
    """The setting for a session by the parameters of the quantization policy in force.

    importance: of the session, 0 ... 1; pressure: how full the pool is, 0 ... 1. The policy's ``precision`` is the least that is
    allowed and its ``quality_weight`` what is wanted. 8 bits unless there is a reason: float16 for what matters most while there is
    room, fewer bits in a full pool for what matters little. chosen: by whoever opened the memory; it holds, but for fewer bits in a full
    pool, for what matters little and where the policy allows less than what was chosen. ConfigError.
    """
    least = PRECISIONS.get(str(parameters.get("precision", "q8")))
    if least is None:
        raise ConfigError(f"precision is {parameters['precision']!r}; one of {', '.join(PRECISIONS)} would be right")
    wanted = (float(parameters.get("quality_weight", 0.5)) + importance) / 2
    kind = chosen.old if chosen else "q8"
    if not chosen and wanted >= 0.9 and pressure < 0.5:
        kind = "f16"
    elif wanted < 0.25 and pressure >= 0.9:
        kind = lower(kind, "q4")
    elif wanted < 0.4 and pressure >= 0.8:
        kind = lower(kind, "q8q4")
    kind = min(kind, lower(least, chosen.old) if chosen else least, key=ORDER.index)
    if chosen:
        return replace(chosen, old=kind)
    layers = tuple(parameters["layer_range"]) if "layer_range" in parameters else None
    tail = int(parameters.get("tail_length", TAIL)) if tail is None else tail
    return Setting(tail, kind, layers=layers)  # not rotated: keys by channel do without, as `bench cache_quality` shows
