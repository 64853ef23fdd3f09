"""The weights of a decoder as the kernels like them, by the names that its file has for them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import GgufError
from ..kernels.weights import Kernels, Weights, pieces
from .gguf import Head, Tensor, dequantize
from .shape import Shape
from .source import ByteSource

Read = Callable[[Tensor], bytes | memoryview | np.ndarray]  # the data of a tensor
Progress = Callable[[int, int], None]  # (done, total) bytes
INSTEAD = {"bf16": "f32", "q4_1": "q8_0", "q5_0": "q8_0", "q5_1": "q8_0", "q5_k": "q8_0"}  # kinds that no kernel multiplies with
ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
CONVOLUTION = ("shortconv.in_proj", "shortconv.out_proj")
FEED_FORWARD = ("ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True)
class Step:
    """Of loading: ``size`` bytes of a tensor from ``start`` on, and what takes them, uint8 (size,) that the kernels see."""

    tensor: Tensor
    start: int
    size: int
    put: Callable[[np.ndarray], None]


class Parts:
    """matrices: those that are multiplied with; vectors: norms, biases and filters, float32; frequencies: (rotated / 2,) float32, the angle
    of each pair of a head at position 1.

    Tensors are read one after the other and each is let go when it is repacked, so that the file is never there twice. Raises GgufError
    where one is missing or of another shape than the metadata says.
    """

    def __init__(self, head: Head, shape: Shape, read: Read, kernels: Kernels, progress: Progress | None = None) -> None:
        steps = self._steps(head, shape, kernels)
        room, tell = kernels.empty(max(step.size for step in steps), np.uint8), _told(steps, progress)
        for step in steps:
            if step.start == 0:
                data = read(step.tensor)
                data = data.reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
            room[: step.size] = data[step.start : step.start + step.size]
            step.put(room[: step.size])
            tell(step)
        self._begin(shape)

    @classmethod
    async def load(cls, head: Head, shape: Shape, file: ByteSource, kernels: Kernels, progress: Progress | None = None) -> "Parts":
        """The same from a file that is read in slices of a few megabytes: while one is repacked the next is on its way."""
        self = cls.__new__(cls)
        steps = self._steps(head, shape, kernels)
        longest, tell = max(step.size for step in steps), _told(steps, progress)
        rooms = [kernels.empty(longest, np.uint8) for _ in range(2)]

        def asked(place: int) -> asyncio.Future[None]:
            step = steps[place]
            return asyncio.ensure_future(file.read_into(step.tensor.offset + step.start, rooms[place % 2][: step.size]))

        coming = asked(0)
        try:
            for place, step in enumerate(steps):
                await coming
                if place + 1 < len(steps):
                    coming = asked(place + 1)
                await asyncio.sleep(0)  # it sets out
                step.put(rooms[place % 2][: step.size])
                tell(step)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)  # nobody writes into the rooms any more
        self._begin(shape)
        return self

    def _steps(self, head: Head, shape: Shape, kernels: Kernels) -> "list[Step]":
        """In the file's order, which may be a stream."""
        self.matrices, self.vectors = {}, {}
        steps: list[Step] = []
        for name, form in sorted(wanted_tensors(shape, head.tensors).items(), key=lambda each: head.tensors[each[0]].offset):
            tensor, short = head.tensors[name], name.removesuffix(".weight")
            if is_matrix(name, form):
                row_bytes, put = tensor.size // tensor.shape[0], partial(self._put, short, tensor, kernels)
                for row, rows in pieces(tensor.shape[0], row_bytes):
                    steps.append(Step(tensor, row * row_bytes, rows * row_bytes, partial(put, row, rows)))
            else:
                steps.append(Step(tensor, 0, tensor.size, partial(self._put_vector, short, tensor, kernels)))
        return steps

    def _put(self, name: str, tensor: Tensor, kernels: Kernels, row: int, rows: int, part: np.ndarray) -> None:
        if row == 0:
            self.matrices[name] = Weights(kernels, kept_kind(tensor.kind.name), tensor.shape)
        weights = self.matrices[name]
        if weights.kind == tensor.kind.name:
            return weights.put(row, part)
        piece = Tensor(tensor.name, tensor.kind, (rows, tensor.shape[1]), 0, part.size)
        weights.put_numbers(row, dequantize(piece, part))

    def _put_vector(self, name: str, tensor: Tensor, kernels: Kernels, part: np.ndarray) -> None:
        self.vectors[name] = kernels.empty(tensor.shape, np.float32)
        self.vectors[name][...] = dequantize(tensor, part)

    def _begin(self, shape: Shape) -> None:
        self.frequencies = _frequencies(shape, self.vectors.pop("rope_freqs", None))

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (*self.matrices.values(), *self.vectors.values()))

    @property
    def output(self) -> Weights:
        """What makes logits: a matrix of its own, or the embedding."""
        return self.matrices.get("output") or self.matrices["token_embd"]


def is_matrix(name: str, form: tuple[int, ...]) -> bool:
    """Whether a tensor is multiplied with, and not a norm, a bias or the filters of a convolution."""
    return len(form) == 2 and "shortconv.conv" not in name


def kept_kind(kind: str) -> str:
    """The kind that the weights of a matrix have here when the file has them as ``kind``."""
    return INSTEAD.get(kind, kind)


def _told(steps: list[Step], progress: Progress | None) -> Callable[[Step], None]:
    """To be called after each step."""
    total, done = sum(step.size for step in steps), 0

    def tell(step: Step) -> None:
        nonlocal done
        done += step.size
        if progress is not None:
            progress(done, total)

    return tell


def _frequencies(shape: Shape, factors: np.ndarray | None) -> np.ndarray:
    """factors: that each frequency is divided by, as Llama 3.1 has them and llama.cpp keeps them; None: none are."""
    if factors is None:
        return shape.frequencies
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise GgufError("the tensor 'rope_freqs.weight' has factors that are not above 0")
    return shape.frequencies / factors


def wanted_tensors(shape: Shape, there: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The tensors to load and their shapes. GgufError where one is missing, or has another shape than the metadata says."""
    blocks = len({name.split(".")[1] for name in there if name.startswith("blk.")})
    if shape.layers > blocks:
        raise GgufError(f"{shape.architecture}.block_count is {shape.layers}; the file has tensors of {blocks} blocks")
    extended = next((name for name in there if name.startswith("rope_factors_")), None)
    if extended:
        raise GgufError(f"the tensor {extended!r} scales rotations by the length of the text, which is not done")
    forms, optional = tensor_forms(shape)
    missing = [name for name in forms if name not in there and name not in optional]
    if missing:
        raise GgufError(f"the tensor {missing[0]!r} is missing, and {len(missing) - 1} more of {shape.architecture}")
    rows = there["token_embd.weight"].shape[0]
    wanted = {name: tuple(length or rows for length in form) for name, form in forms.items() if name in there}
    wrong = next((name for name, form in wanted.items() if there[name].shape != form), None)
    if wrong is not None:
        raise GgufError(f"the tensor {wrong!r} is {there[wrong].shape}; the metadata says {wanted[wrong]}")
    return wanted


def tensor_forms(shape: Shape) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """All tensors that such a model may have with their shapes, of which 0 is the size of the vocabulary, and the names of those it can do
    without.
    """
    final = "token_embd_norm" if shape.architecture == "lfm2" else "output_norm"
    forms: dict[str, tuple[int, ...]] = {"token_embd": (0, shape.hidden), final: (shape.hidden,), "output": (0, shape.hidden)}
    forms["rope_freqs"] = (shape.rotated // 2,)
    optional = {"output", "rope_freqs"}
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

    def named(name: str) -> str:
        return name if name.endswith(".bias") else f"{name}.weight"

    return {named(name): form for name, form in forms.items()}, {named(name) for name in optional}
