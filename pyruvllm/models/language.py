"""A language model from a file: its tokenizer, its weights, and one sequence at work.

model = await open_model("LFM2-350M-Q4_0.gguf", kernels)
async for piece in model.generate("The engine ran hot because"): ...
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..config import Clock
from ..errors import ModelError
from ..kernels.registry import KernelRegistry
from .decoder import Runner
from .generate import Generation, generate
from .gguf import Head, Incomplete, read_head
from .parts import Parts
from .sampling import Sampling
from .shape import Shape
from .tokenizer import load

FIRST = 1 << 20  # bytes of a file that are looked at first
CONTEXT = 4096  # tokens, unless asked for others


class LanguageModel:
    """data: of a whole GGUF file, which may be let go afterwards; context: tokens there is room for.

    Raises GgufError and ModelError for a file that is no model, MemoryError where it does not fit.
    """

    def __init__(
        self,
        data: bytes | memoryview | np.ndarray,
        kernels: KernelRegistry,
        *,
        context: int | None = None,
        clock: Clock | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        file = memoryview(data)
        head = _head(file)
        self.metadata, self.shape = head.metadata, Shape.of(head.metadata)
        self.tokenizer = load(head.metadata)
        parts = Parts(head, self.shape, lambda tensor: file[tensor.offset : tensor.offset + tensor.size], kernels, progress)
        rows = parts.matrices["token_embd"].rows
        if len(self.tokenizer.vocabulary) > rows:
            raise ModelError(f"the tokenizer has {len(self.tokenizer.vocabulary)} tokens and the model embeddings of {rows}")
        self.runner = Runner(self.shape, parts, kernels, min(context or CONTEXT, self.shape.context))
        self._clock = clock or Clock()

    @property
    def name(self) -> str:
        return str(self.metadata.get("general.name") or self.metadata.get("general.architecture"))

    @property
    def nbytes(self) -> int:
        """Of weights and cache."""
        return self.runner.parts.nbytes + self.runner.cache.nbytes

    def generate(
        self,
        prompt: str | Sequence[int],
        sampling: Sampling | None = None,
        *,
        special: bool = False,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        logprobs: int | None = None,
    ) -> Generation:
        """What the model says after a prompt. special: control tokens written out in it are meant.

        A prompt that begins with all that was said before, such as a conversation that goes on, is taken in from there. One stream at a
        time: an older one does not go on after a new one has begun. Raises ConfigError.
        """
        ids = self.tokenizer.encode(prompt, special=special, bounds=True) if isinstance(prompt, str) else list(prompt)
        known = len(self.runner.history)
        if known >= len(ids) or ids[:known] != self.runner.history:
            self.runner.reset()
            known = 0
        options = {"max_tokens": max_tokens, "stop": stop, "logprobs": logprobs, "clock": self._clock}
        return generate(self.runner, self.tokenizer, ids[known:], sampling, before=ids[:known], **options)  # type: ignore[arg-type]


async def open_model(
    source: str | Path,
    kernels: KernelRegistry,
    *,
    context: int | None = None,
    clock: Clock | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LanguageModel:
    """The model of a GGUF file on disk, which is mapped, not read whole. Raises what LanguageModel does."""
    path = Path(source).expanduser()
    if not path.is_file():
        raise ModelError(f"there is no file {str(path)!r}")
    if not path.stat().st_size:
        raise ModelError(f"{str(path)!r} is empty")
    return LanguageModel(np.memmap(path, np.uint8, "r"), kernels, context=context, clock=clock, progress=progress)


def _head(file: memoryview) -> Head:
    """Of a file that is there whole: only as much of it is looked at as its head takes."""
    size = min(FIRST, len(file))
    while True:
        try:
            return read_head(file[:size], len(file))
        except Incomplete as more:
            size = min(max(more.needed, 2 * size), len(file))
