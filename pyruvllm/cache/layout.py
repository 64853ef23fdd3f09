"""What a page of keys and values holds: 16 tokens, all layers side by side, each in its own kind (kernels/reference/kv.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import ConfigError
from ..kernels.reference.kv import part_bytes

PAGE = 16  # tokens
KINDS = {"f16": ("f16", "f16"), "q8": ("q8", "q8"), "q8q4": ("q8", "q4"), "q4": ("q4", "q4")}  # of keys and of values; best first


@dataclass(frozen=True)
class Form:
    """kv_heads: heads of keys and values of each layer, 0 for one that has none; states: (layers, columns, channels) of convolutions."""

    kv_heads: tuple[int, ...]
    dim: int
    states: tuple[int, int, int] = (0, 0, 0)

    @property
    def attention(self) -> tuple[int, ...]:
        """The layers with keys and values."""
        return tuple(layer for layer, heads in enumerate(self.kv_heads) if heads)


@dataclass(frozen=True)
class Layout:
    """kinds: of each layer, one of KINDS."""

    form: Form
    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = next((kind for kind in self.kinds if kind not in KINDS), None)
        if wrong is not None:
            raise ConfigError(f"keys and values cannot be kept as {wrong!r}; {', '.join(KINDS)} can be")

    @classmethod
    def of(cls, form: Form, kind: str, layers: Sequence[int] | None = None) -> "Layout":
        """One kind for those layers, float16 for the others."""
        chosen = range(len(form.kv_heads)) if layers is None else layers
        return cls(form, tuple(kind if layer in chosen else "f16" for layer in range(len(form.kv_heads))))

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """Of each attention layer: where its keys and its values begin in a page, bytes."""
        return self._laid[0]

    @cached_property
    def size(self) -> int:
        """Bytes of a page."""
        return self._laid[1]

    @cached_property
    def _laid(self) -> tuple[dict[int, tuple[int, int]], int]:
        places, at = {}, 0
        for layer in self.form.attention:
            keys, values = KINDS[self.kinds[layer]]
            first = at + self._part(layer, keys, True)
            places[layer], at = (at, first), first + self._part(layer, values, False)
        return places, at

    def _part(self, layer: int, kind: str, keys: bool) -> int:
        return -(-part_bytes(kind, keys, self.form.kv_heads[layer], self.form.dim, PAGE) // 4) * 4
