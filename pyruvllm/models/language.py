"""A language model from a file: its tokenizer, its weights, and one sequence at work.

model = await open_model("LFM2-350M-Q4_0.gguf", kernels)
async for piece in model.generate("The engine ran hot because"): ...
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Clock
from ..errors import ConfigError, ModelError
from ..kernels.registry import KernelRegistry
from .decoder import Runner
from .generate import Generation, generate
from .gguf import Head, Incomplete, read_head
from .parts import Parts
from .sampling import Sampling
from .shape import Shape
from .source import FIRST, ByteSource, head_of
from .template import ChatTemplate, of_metadata
from .tokenizer import load

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
        self._describe(head)
        parts = Parts(head, self.shape, lambda tensor: file[tensor.offset : tensor.offset + tensor.size], kernels, progress)
        self._begin(parts, kernels, context, clock)

    @classmethod
    async def load(
        cls,
        file: ByteSource,
        kernels: KernelRegistry,
        *,
        context: int | None = None,
        clock: Clock | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "LanguageModel":
        """The same from a file that is read in slices, straight to where the kernels want the weights: it is never in memory whole."""
        self = cls.__new__(cls)
        head = await head_of(file)
        self._describe(head)
        self._begin(await Parts.load(head, self.shape, file, kernels, progress), kernels, context, clock)
        return self

    def _describe(self, head: Head) -> None:
        self.metadata, self.shape = head.metadata, Shape.of(head.metadata)
        self.tokenizer = load(head.metadata)
        rows = head.tensors["token_embd.weight"].shape[0] if "token_embd.weight" in head.tensors else 0
        if rows and len(self.tokenizer.vocabulary) > rows:
            raise ModelError(f"the tokenizer has {len(self.tokenizer.vocabulary)} tokens and the model embeddings of {rows}")

    def _begin(self, parts: Parts, kernels: KernelRegistry, context: int | None, clock: Clock | None) -> None:
        self.runner = Runner(self.shape, parts, kernels, min(context or CONTEXT, self.shape.context))
        self._clock = clock or Clock()

    @property
    def name(self) -> str:
        return str(self.metadata.get("general.name") or self.metadata.get("general.architecture"))

    @property
    def nbytes(self) -> int:
        """Of weights and cache."""
        return self.runner.parts.nbytes + self.runner.cache.pool.used

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

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        sampling: Sampling | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        max_tokens: int = 1024,
        stop: Sequence[str] = (),
        logprobs: int | None = None,
    ) -> Generation:
        """What the assistant says next in a conversation, written as the model's template has it; as ``generate``. Control tokens in
        what was said are text.

        Raises ConfigError too for a model without a template, HostError without the package jinja2.
        """
        return self.generate(self.chat_ids(messages, tools), sampling, max_tokens=max_tokens, stop=stop, logprobs=logprobs)

    def chat_ids(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """The tokens of a conversation up to where the assistant answers. Raises as ``chat``."""
        if self.template is None:
            raise ConfigError(f"the model {self.name!r} has no chat template; generate() takes a text")
        shield, shielded = self._shielded(messages)
        return self.tokenizer.encode(self.template.render(shielded, tools=tools), special=True, shield=shield)

    def _shielded(self, messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        """A character of the private use area that nobody used, and the messages with it in their control tokens."""
        written = repr(messages)
        shield = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in written and f"\\u{code:04x}" not in written)

        def told(value: Any) -> Any:
            if isinstance(value, str):
                return self.tokenizer.vocabulary.shielded(value, shield)
            if isinstance(value, Mapping):
                return {key: told(inner) for key, inner in value.items()}
            return [told(inner) for inner in value] if isinstance(value, list | tuple) else value

        return shield, [told(message) for message in messages]

    @cached_property
    def template(self) -> ChatTemplate | None:
        return of_metadata(self.metadata, self.tokenizer.vocabulary.tokens)


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
