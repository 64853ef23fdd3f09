"""A language model behind the calls that chat clients know: the shape of OpenAI's chat completions, without the network.

    chat = Chat(model)
    answer = await chat.completions.create(messages=[{"role": "user", "content": "Hello"}])
    print(answer.choices[0].message.content)
    async for chunk in await chat.completions.create(messages=..., stream=True):
        print(chunk.choices[0].delta.content or "", end="")

Fields and their meaning: OpenAI's API reference for chat completions. What is asked for and cannot be done is refused, not passed over.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

from .config import Clock
from .errors import ConfigError, ModelError
from .models.dialogue import Dialogue
from .models.generate import Generation, TokenScore
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
    logprobs: Logprobs | None = None


@dataclass(frozen=True)
class PromptTokensDetails:
    cached_tokens: int  # that were not read again


@dataclass(frozen=True)
class CompletionUsage:
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails = field(default_factory=lambda: PromptTokensDetails(0))


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
    def __init__(self, model: Dialogue | None, clock: Clock | None = None) -> None:
        if model is None:  # as a memory without one has it
            raise ModelError("no language model is loaded: `await llm.models.load(...)` first")
        self.completions = Completions(model, clock or Clock())


class Completions:
    def __init__(self, model: Dialogue, clock: Clock) -> None:
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
        response_format: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        overflow: str = "error",
        speculate: bool = True,
        **unknown: Any,
    ) -> ChatCompletion | AsyncIterator[ChatCompletionChunk]:
        """The answer, whole or as a stream. n: answers, made one after the other, of seeds that follow each other. response_format:
        {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema", "json_schema": {"schema": ...}}; the answer is valid then
        even where max_tokens cut it short. tools: told to a model whose template has a place for them, else refused; what the model writes
        to call one is the answer's text, as it writes it: nothing reads calls out of it.

        top_k, min_p, repetition_penalty, overflow and speculate are ours (models/dialogue.py). ConfigError for what cannot be.
        """
        asked_for = next((name for name, value in unknown.items() if value is not None), None)
        if asked_for is not None:
            raise ConfigError(f"{asked_for} is {unknown[asked_for]!r}, which cannot be had over a model on this device")
        if stop is not None and not isinstance(stop, str | list | tuple):
            raise ConfigError(f"stop is {stop!r}; a string, or a list of strings, would be right")
        if type(n) is not int or not 1 <= n <= 128:
            raise ConfigError(f"n is {n!r}; 1 to 128 would be right")
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
        ids = self._model.chat_ids(messages, tools)

        def generated(number: int) -> Generation:
            return self._model.generate(
                ids,
                sampling if seed is None else replace(sampling, seed=seed + number),
                max_tokens=next((most for most in (max_completion_tokens, max_tokens) if most is not None), 1024),
                stop=[stop] if isinstance(stop, str) else list(stop or ()),
                logprobs=top_logprobs if logprobs else None,
                schema=_schema(response_format),
                overflow=overflow,
                speculate=speculate,
            )

        answer = _Answer(self._model, generated, n, f"chatcmpl-{self._clock.new_id()}", self._clock.now_ms() // 1000)
        return answer.chunks() if stream else await answer.whole()


def _schema(format: Mapping[str, Any] | None) -> Any:
    """What a response_format asks for; None for any text."""
    kind = format.get("type") if isinstance(format, Mapping) else None
    if format is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    inner = format.get("json_schema") if kind == "json_schema" else None
    if not isinstance(inner, Mapping) or "schema" not in inner:
        raise ConfigError(f"response_format is {format!r}; a type of text, json_object, or json_schema with its schema would be right")
    return inner["schema"]


class _Answer:
    """generated: begins the text of that number."""

    def __init__(self, model: Dialogue, generated: Callable[[int], Generation], n: int, id: str, created: int) -> None:
        self._model, self._generated, self._n = model, generated, n
        self._first = generated(0)  # what cannot be is refused before anything is given
        self._same = {"id": id, "created": created, "model": model.name}

    async def whole(self) -> ChatCompletion:
        choices, done = [], []
        for index, generation in self._each():
            message = Message("assistant", await generation.text())
            choices.append(Choice(message, _finish(generation), index, self._logprobs(generation.scores)))
            done.append(generation)
        return ChatCompletion(choices=choices, usage=_usage(done), **self._same)  # type: ignore[arg-type]

    async def chunks(self) -> AsyncIterator[ChatCompletionChunk]:
        done = []
        for index, generation in self._each():
            yield self._chunk(ChunkChoice(Delta(role="assistant", content=""), index=index))
            told = 0
            async for piece in generation:
                scores, told = self._logprobs(generation.scores[told:]), len(generation.scores)
                yield self._chunk(ChunkChoice(Delta(content=piece), index=index, logprobs=scores))
            done.append(generation)
            yield self._chunk(ChunkChoice(Delta(), _finish(generation), index), _usage(done) if len(done) == self._n else None)

    def _each(self) -> Iterator[tuple[int, Generation]]:
        for index in range(self._n):
            yield index, self._generated(index) if index else self._first

    def _chunk(self, choice: ChunkChoice, usage: CompletionUsage | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(choices=[choice], usage=usage, **self._same)  # type: ignore[arg-type]

    def _logprobs(self, scores: Sequence[TokenScore]) -> Logprobs | None:
        return Logprobs([self._scored(s.id, s.logprob, [self._scored(*each) for each in s.top]) for s in scores]) if scores else None

    def _scored(self, id: int, logprob: float, top: list[TokenLogprob] | None = None) -> TokenLogprob:
        piece = self._model.tokenizer.piece(id)
        return TokenLogprob(piece.decode(errors="replace"), logprob, list(piece), top or [])


def _finish(generation: Generation) -> str:
    return FINISHES[generation.usage.finish or "cancelled"]


def _usage(done: Sequence[Generation]) -> CompletionUsage:
    """Of all texts to one prompt, which is counted once."""
    first, said = done[0].usage, sum(each.usage.completion_tokens for each in done)
    return CompletionUsage(first.prompt_tokens, said, first.prompt_tokens + said, PromptTokensDetails(first.cached_tokens))
