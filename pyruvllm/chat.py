"""A language model behind the calls that chat clients know: the shape of OpenAI's chat completions, without the network.

    chat = Chat(model)
    answer = await chat.completions.create(messages=[{"role": "user", "content": "Hello"}])
    print(answer.choices[0].message.content)
    async for chunk in await chat.completions.create(messages=..., stream=True):
        print(chunk.choices[0].delta.content or "", end="")

Fields and their meaning: OpenAI's API reference for chat completions. What is asked for and cannot be done is refused, not passed over.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from .config import Clock
from .errors import ConfigError
from .models.generate import Generation
from .models.language import LanguageModel
from .models.sampling import Sampling

FINISHES = {"stop": "stop", "length": "length", "context": "length", "cancelled": "stop"}


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Delta:
    role: str | None = None
    content: str | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """logprob: natural logarithm; top_logprobs: the likeliest ones in its place, without theirs."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list["TokenLogprob"] = field(default_factory=list)


@dataclass(frozen=True)
class Logprobs:
    content: list[TokenLogprob]


@dataclass(frozen=True)
class Choice:
    message: Message
    finish_reason: str
    index: int = 0
    logprobs: Logprobs | None = None


@dataclass(frozen=True)
class ChunkChoice:
    delta: Delta
    finish_reason: str | None = None
    index: int = 0


@dataclass(frozen=True)
class CompletionUsage:
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class ChatCompletion:
    id: str
    created: int  # seconds, UTC
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    object: str = "chat.completion"


@dataclass(frozen=True)
class ChatCompletionChunk:
    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None  # with the last one
    object: str = "chat.completion.chunk"


class Chat:
    def __init__(self, model: LanguageModel, clock: Clock | None = None) -> None:
        self.completions = Completions(model, clock or Clock())


class Completions:
    def __init__(self, model: LanguageModel, clock: Clock) -> None:
        self._model, self._clock = model, clock

    @overload
    async def create(self, *, messages: Sequence[Mapping[str, Any]], stream: Literal[False] = False, **options: Any) -> ChatCompletion: ...

    @overload
    async def create(
        self, *, messages: Sequence[Mapping[str, Any]], stream: Literal[True], **options: Any
    ) -> AsyncIterator[ChatCompletionChunk]: ...

    async def create(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        stream: bool = False,
        model: str | None = None,
        max_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        n: int = 1,
        logprobs: bool = False,
        top_logprobs: int = 0,
        tools: Sequence[Mapping[str, Any]] | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
    ) -> ChatCompletion | AsyncIterator[ChatCompletionChunk]:
        """The answer, whole or as a stream. top_k, min_p and repetition_penalty are ours. ConfigError for what cannot be."""
        if n != 1:
            raise ConfigError(f"n is {n!r}; one answer at a time is made")
        if model not in (None, self._model.name):
            raise ConfigError(f"model is {model!r}; {self._model.name!r} is loaded")
        if top_logprobs and not logprobs:
            raise ConfigError(f"top_logprobs is {top_logprobs} and logprobs False; with logprobs=True it would be right")
        asked = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
        sampling = Sampling(
            **{name: value for name, value in asked.items() if value is not None},  # type: ignore[arg-type]
            repetition_penalty=repetition_penalty,
            frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty,
            seed=seed,
        )
        generation = self._model.chat(
            messages,
            sampling,
            tools=tools,
            max_tokens=max_completion_tokens or max_tokens or 1024,
            stop=[stop] if isinstance(stop, str) else list(stop or ()),
            logprobs=top_logprobs if logprobs else None,
        )
        answer = _Answer(self._model, generation, f"chatcmpl-{self._clock.new_id()}", self._clock.now_ms() // 1000)
        return answer.chunks() if stream else await answer.whole()


class _Answer:
    def __init__(self, model: LanguageModel, generation: Generation, id: str, created: int) -> None:
        self._model, self._generation = model, generation
        self._same = {"id": id, "created": created, "model": model.name}

    async def whole(self) -> ChatCompletion:
        text = await self._generation.text()
        message = Message("assistant", text)
        return ChatCompletion(choices=[Choice(message, self._finish(), logprobs=self._logprobs())], usage=self._usage(), **self._same)  # type: ignore[arg-type]

    async def chunks(self) -> AsyncIterator[ChatCompletionChunk]:
        yield self._chunk(Delta(role="assistant", content=""))
        async for piece in self._generation:
            yield self._chunk(Delta(content=piece))
        yield self._chunk(Delta(), self._finish(), self._usage())

    def _chunk(self, delta: Delta, finish: str | None = None, usage: CompletionUsage | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(choices=[ChunkChoice(delta, finish)], usage=usage, **self._same)  # type: ignore[arg-type]

    def _finish(self) -> str:
        return FINISHES[self._generation.usage.finish or "cancelled"]

    def _usage(self) -> CompletionUsage:
        used = self._generation.usage
        return CompletionUsage(used.prompt_tokens, used.completion_tokens, used.prompt_tokens + used.completion_tokens)

    def _logprobs(self) -> Logprobs | None:
        scores = self._generation.scores
        return Logprobs([self._scored(s.id, s.logprob, [self._scored(*each) for each in s.top]) for s in scores]) if scores else None

    def _scored(self, id: int, logprob: float, top: list[TokenLogprob] | None = None) -> TokenLogprob:
        piece = self._model.tokenizer.piece(id)
        return TokenLogprob(piece.decode(errors="replace"), logprob, list(piece), top or [])
