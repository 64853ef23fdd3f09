"""What a decoder is made of, from the metadata of its file: LFM2 (gated short convolutions and attention), Llama and Qwen (attention).

LFM2: Liquid AI, 2025. Llama: Touvron et al. 2023, arXiv:2302.13971. Qwen 2 and 3: Qwen team, 2024 and 2025. Key names: ggml's docs/gguf.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import GgufError
from .gguf.head import MOST_TENSORS

INTERLEAVED = ("llama",)  # whose rotation turns neighbouring numbers; the others turn those half a head apart
ARCHITECTURES = ("lfm2", "llama", "qwen2", "qwen3")
MOST_LAYERS = MOST_TENSORS // 8  # each has more tensors than that


@dataclass(frozen=True)
class Shape:
    architecture: str
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: tuple[int, ...]  # of each layer; 0: it is a convolution
    head_dim: int
    rotated: int  # numbers of a head that are rotated
    context: int  # tokens it was trained for
    eps: float  # of the norms
    theta: float  # of the rotation
    kernel: int = 0  # of the convolutions
    stretch: float = 1.0  # of positions: 2 makes room for twice the tokens it was first trained for (Chen et al. 2023, arXiv:2306.15595)

    @property
    def layers(self) -> int:
        return len(self.kv_heads)

    @property
    def interleaved(self) -> bool:
        return self.architecture in INTERLEAVED

    @property
    def frequencies(self) -> np.ndarray:
        """(rotated / 2,) float32: the angle of each pair at position 1, before what a file divides it by (``Parts.frequencies``)."""
        return (self.theta ** (-np.arange(0, self.rotated, 2) / self.rotated) / self.stretch).astype(np.float32)

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Shape":
        """Raises GgufError for another architecture, and for what is missing or cannot be."""
        if metadata.get("general.type") == "adapter":
            raise GgufError("general.type is 'adapter': this file changes a model that is loaded; add it there, it cannot answer by itself")
        architecture = metadata.get("general.architecture")
        if architecture not in ARCHITECTURES:
            raise GgufError(f"general.architecture is {architecture!r}; {', '.join(ARCHITECTURES)} are run")
        keys = _Keys(metadata, architecture)
        layers, hidden = keys.count("block_count", most=MOST_LAYERS), keys.count("embedding_length")
        heads = keys.count("attention.head_count")
        head_dim = keys.count("attention.key_length", hidden // heads)
        shape = cls(
            architecture,
            hidden,
            keys.count("feed_forward_length"),
            heads,
            keys.each("attention.head_count_kv", layers, heads),
            head_dim,
            keys.count("rope.dimension_count", head_dim),
            keys.count("context_length", 2048),
            keys.number("attention.layer_norm_rms_epsilon", 1e-5),
            keys.number("rope.freq_base", 10_000.0),
            keys.count("shortconv.l_cache") if architecture == "lfm2" else 0,
            keys.stretch(),
        )
        for kv in shape.kv_heads:
            if kv and heads % kv or (kv == 0 and architecture != "lfm2"):
                raise GgufError(f"{architecture}.attention.head_count_kv is {kv} for {heads} heads: these share them evenly")
        if shape.rotated % 2 or shape.rotated > head_dim or head_dim % 4:
            raise GgufError(
                f"{architecture}: {shape.rotated} of {head_dim} numbers of a head are rotated; an even number of them would be right"
            )
        return shape


class _Keys:
    def __init__(self, metadata: Mapping[str, Any], architecture: str) -> None:
        self._metadata, self._prefix = metadata, architecture + "."

    def count(self, name: str, default: int | None = None, most: int = (1 << 24) - 1) -> int:
        value = self._metadata.get(self._prefix + name, default)
        if type(value) is not int or not 0 < value <= most:
            raise GgufError(f"{self._prefix}{name} is {value!r}; a number above 0, up to {most}, would be right")
        return value

    def number(self, name: str, default: float) -> float:
        value = self._metadata.get(self._prefix + name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise GgufError(f"{self._prefix}{name} is {value!r}; a number above 0 would be right")
        return float(value)

    def stretch(self) -> float:
        """By how much positions are stretched; 1 where nothing is said of it."""
        kind = self._metadata.get(self._prefix + "rope.scaling.type", "linear")
        if not isinstance(kind, str) or kind not in ("none", "linear"):
            raise GgufError(f"{self._prefix}rope.scaling.type is {kind!r}; none and linear are done, and the tensor rope_freqs.weight")
        attention = self.number("rope.scaling.attn_factor", 1.0)
        if attention != 1:
            raise GgufError(f"{self._prefix}rope.scaling.attn_factor is {attention}; only 1 is done")
        if kind == "none":
            return 1.0
        older = self._metadata.get(self._prefix + "rope.scale_linear", 1.0)
        factor = self._metadata.get(self._prefix + "rope.scaling.factor", older)
        meant = isinstance(factor, np.ndarray) or factor != 0  # 0: none
        return self.number("rope.scaling.factor", factor) if meant else 1.0

    def each(self, name: str, layers: int, default: int) -> tuple[int, ...]:
        """One number for all layers, or one for each."""
        value = self._metadata.get(self._prefix + name, default)
        values = value.tolist() if isinstance(value, np.ndarray) else [value] * layers
        if len(values) != layers or not all(type(one) is int and 0 <= one <= 1 << 16 for one in values):
            raise GgufError(f"{self._prefix}{name} is {value!r}; a number for each of {layers} layers would be right")
        return tuple(values)
