"""How much memory a model takes here, computed from its shape before anything of it is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..kernels.weights import LAID, PLAIN
from .gguf import Head
from .parts import is_matrix, kept_kind, wanted_tensors
from .shape import Shape

SCRATCH = 24 << 20  # bytes: a tensor's slice while it is read, recordings, tokenizer
BLOCK = 32  # tokens of a prompt that are worked on together
KEY_BYTES = 2  # of a number in the cache: float16, the largest it is kept as


@dataclass(frozen=True)
class Footprint:
    """Bytes: weights as the kernels have them, keys and values of a full context, and what is needed beside."""

    weights: int
    cache: int
    work: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.work


def footprint(shape: Shape, tensors: Mapping[str, tuple[str, tuple[int, ...]]], context: int) -> Footprint:
    """tensors: kind and shape of each that the model has, by its name."""
    weights = sum(_kept(name, kind, form) for name, (kind, form) in tensors.items())
    vocabulary = tensors["token_embd.weight"][1][0]
    keys = 2 * sum(shape.kv_heads) * shape.head_dim * KEY_BYTES * context
    states = 4 * sum(not kv for kv in shape.kv_heads) * max(shape.kernel - 1, 0) * shape.hidden
    row = 4 * (4 * shape.hidden + 2 * shape.feed_forward + 3 * shape.hidden + 4 * shape.heads * shape.head_dim)
    return Footprint(weights, keys + states, (BLOCK + 1) * row + 8 * vocabulary + SCRATCH)


def of_head(head: Head, context: int) -> Footprint:
    """Of a file whose head was read. GgufError for what is no model."""
    shape = Shape.of(head.metadata)
    names = wanted_tensors(shape, head.tensors)
    tensors = {name: (head.tensors[name].kind.name, head.tensors[name].shape) for name in names}
    return footprint(shape, tensors, min(context, shape.context))


def _kept(name: str, kind: str, form: tuple[int, ...]) -> int:
    if not is_matrix(name, form):
        count = 1
        for length in form:
            count *= length
        return 4 * count
    rows, cols = form
    kind = kept_kind(kind)
    if kind in PLAIN:
        return rows * cols * PLAIN[kind].itemsize
    per, length = LAID[kind]
    return -(-rows // 4) * (cols // per) * length
