"""The weights of a decoder as the kernels like them, by the names that its file has for them."""

from collections.abc import Callable, Mapping

import numpy as np

from ..errors import GgufError
from ..kernels.weights import LAID, PLAIN, Kernels, Weights
from .gguf import Head, Tensor, dequantize
from .shape import Shape

Read = Callable[[Tensor], bytes | memoryview | np.ndarray]  # the data of a tensor
INSTEAD = {"bf16": "f32", "q4_1": "q8_0", "q5_0": "q8_0", "q5_1": "q8_0", "q5_k": "q8_0"}  # kinds that no kernel multiplies with
ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
CONVOLUTION = ("shortconv.in_proj", "shortconv.out_proj")
FEED_FORWARD = ("ffn_gate", "ffn_up", "ffn_down")


class Parts:
    """matrices: those that are multiplied with; vectors: norms, biases and filters, float32.

    Tensors are read one after the other and each is let go when it is repacked, so that the file is never there twice. Raises GgufError
    where one is missing or of another shape than the metadata says.
    """

    def __init__(self, head: Head, shape: Shape, read: Read, kernels: Kernels, progress: Callable[[int, int], None] | None = None) -> None:
        self.matrices: dict[str, Weights] = {}
        self.vectors: dict[str, np.ndarray] = {}
        wanted, tell = _wanted(shape, head.tensors), progress or (lambda done, total: None)
        total, done = sum(head.tensors[name].size for name in wanted), 0
        for name, form in wanted.items():
            tensor = head.tensors[name]
            if tensor.shape != form and form[0]:
                raise GgufError(f"the tensor {name!r} is {tensor.shape}; the metadata says {form}")
            if len(form) == 2 and "shortconv.conv" not in name:
                self.matrices[name.removesuffix(".weight")] = _matrix(kernels, tensor, read(tensor))
            else:
                vector = kernels.empty(tensor.shape, np.float32)
                vector[...] = dequantize(tensor, read(tensor))
                self.vectors[name.removesuffix(".weight")] = vector
            done += tensor.size
            tell(done, total)

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (*self.matrices.values(), *self.vectors.values()))

    @property
    def output(self) -> Weights:
        """What makes logits: a matrix of its own, or the embedding."""
        return self.matrices.get("output") or self.matrices["token_embd"]


def _wanted(shape: Shape, there: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The tensors to load and their shapes; 0 rows: as many as there are."""
    final = "token_embd_norm" if shape.architecture == "lfm2" else "output_norm"
    forms: dict[str, tuple[int, ...]] = {"token_embd": (0, shape.hidden), final: (shape.hidden,), "output": (0, shape.hidden)}
    optional = {"output"}
    queries = shape.heads * shape.head_dim
    for layer, kv_heads in enumerate(shape.kv_heads):
        keys = kv_heads * shape.head_dim
        own: dict[str, tuple[int, ...]] = {"attn_norm": (shape.hidden,), "ffn_norm": (shape.hidden,)}
        if kv_heads:
            sides = [(queries, shape.hidden), (keys, shape.hidden), (keys, shape.hidden), (shape.hidden, queries)]
            own |= dict(zip(ATTENTION, sides, strict=True))
            own |= {"attn_q_norm": (shape.head_dim,), "attn_k_norm": (shape.head_dim,)}
            biases = {f"{name}.bias": (size[0],) for name, size in zip(ATTENTION, sides, strict=True)}
            optional |= {f"blk.{layer}.{name}" for name in ("attn_q_norm", "attn_k_norm", *biases)}
            own |= biases
        else:
            own |= {"shortconv.conv": (shape.hidden, shape.kernel)}
            own |= dict(zip(CONVOLUTION, [(3 * shape.hidden, shape.hidden), (shape.hidden, shape.hidden)], strict=True))
        wide = (shape.feed_forward, shape.hidden)
        own |= dict(zip(FEED_FORWARD, [wide, wide, wide[::-1]], strict=True))
        forms |= {f"blk.{layer}.{name}": form for name, form in own.items()}
    if shape.architecture in ("lfm2", "qwen3"):
        optional = {name for name in optional if not name.endswith("_norm")}
    named = {name if name.endswith(".bias") else f"{name}.weight": (name, form) for name, form in forms.items()}
    missing = [name for name, (short, _) in named.items() if name not in there and short not in optional]
    if missing:
        raise GgufError(f"the tensor {missing[0]!r} is missing, and {len(missing) - 1} more of {shape.architecture}")
    return {name: form for name, (_, form) in named.items() if name in there}


def _matrix(kernels: Kernels, tensor: Tensor, data: bytes | memoryview | np.ndarray) -> Weights:
    rows, cols = tensor.shape
    kind = tensor.kind.name
    if kind in PLAIN or kind in LAID:
        return Weights(kernels, kind, (rows, cols), data)
    return Weights.of(kernels, dequantize(tensor, data), INSTEAD[kind])
