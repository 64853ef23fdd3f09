"""Chat completions over all of it: recalled, routed, written by the loaded model or quoted, cited, witnessed. OpenAI's shape, with sources.

    chat = MemoryChat(llm)
    answer = await chat.completions.create(messages=[{"role": "user", "content": "When does the lease end?"}])
    answer.choices[0].message.content, answer.sources
    async for chunk in await chat.completions.create(messages=..., stream=True): ...

The last message asks; those before it are the conversation. ``chat.Chat`` is the same over a model alone, without the memory.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

from .answering import AnswerStream
from .chat import FINISHES, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, CompletionUsage, Delta, Message
from .errors import ConfigError
from .runtime import RuvLLM
from .types import Answer, Source

ROLES = ("system", "user", "assistant")
OPTIONS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "seed")


@dataclass(frozen=True)
class MemoryCompletion(ChatCompletion):
    """sources, kind and notes: of ``types.Answer``; request: id of the witness entry, which feedback is given to."""

    sources: list[Source] = field(default_factory=list)
    kind: str = ""
    notes: list[str] = field(default_factory=list)
    request: str = ""


@dataclass(frozen=True)
class MemoryChunk(ChatCompletionChunk):
    """sources: with the first one, without what is quoted of them, and with the last one whole, where kind, notes and request are too."""

    sources: list[Source] | None = None
    kind: str | None = None
    notes: list[str] | None = None
    request: str | None = None


class MemoryChat:
    def __init__(self, llm: RuvLLM) -> None:
        self.completions = MemoryCompletions(llm)


class MemoryCompletions:
    def __init__(self, llm: RuvLLM) -> None:
        self._llm = llm

    @overload
    async def create(
        self, *, messages: Sequence[Mapping[str, Any]], stream: Literal[False] = False, **options: Any
    ) -> MemoryCompletion: ...

    @overload
    async def create(
        self, *, messages: Sequence[Mapping[str, Any]], stream: Literal[True], **options: Any
    ) -> AsyncIterator[MemoryChunk]: ...

    async def create(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        stream: bool = False,
        model: str | None = None,
        max_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        n: int = 1,
        session: str | None = None,
        user: str | None = None,
        k: int | None = None,
        where: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> MemoryCompletion | AsyncIterator[MemoryChunk]:
        """The answer, whole or as a stream.

        options: temperature, top_p, seed, user and the penalties as OpenAI has them; top_k, min_p, repetition_penalty, session (the
        conversation that the exchange is kept in), k and where (see ``RuvLLM.ask``) are ours. Without a loaded model the answer is quoted,
        and ``model`` says so. What is not given is as the memory's settings have it. ConfigError for what cannot be.
        """
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise ConfigError(f"{unknown[0]} cannot be had over the memory; pyruvllm.chat.Chat(llm.models.model) is over the model alone")
        if n != 1:
            raise ConfigError(f"n is {n!r}; one answer at a time is made")
        there = self._llm.models.loaded.name if self._llm.models.loaded else "extractive"
        if model not in (None, there):
            raise ConfigError(f"model is {model!r}; {there!r} answers")
        instructions, history, question = _conversation(messages)
        default = self._llm.config.generation
        most = next(each for each in (max_completion_tokens, max_tokens, default.max_tokens) if each is not None)
        asked = {name: value for name, value in options.items() if value is not None}
        stops = (stop,) if isinstance(stop, str) else default.stop if stop is None else stop
        generation = replace(default, max_tokens=most, stop=tuple(stops) if isinstance(stops, list) else stops, **asked)
        about = {"session": session, "user": user, "k": k, "where": where}
        answering = self._llm.stream(question, **about, generation=generation, history=history, instructions=instructions)  # type: ignore[arg-type]
        answer = _Completion(answering, there, self._llm.config.clock.now_ms() // 1000, self._llm.config.clock.new_id())
        return answer.chunks() if stream else await answer.whole()


class _Completion:
    def __init__(self, answering: AnswerStream, model: str, created: int, id: str) -> None:
        self._answering = answering
        self._same: dict[str, Any] = {"id": f"chatcmpl-{id}", "created": created, "model": model}

    async def whole(self) -> MemoryCompletion:
        async for _ in self._answering:
            pass
        answer = self._answer
        message = Message("assistant", answer.text)
        about = {**self._same, "model": answer.generated.model if answer.generated else answer.kind, **_about(answer)}
        return MemoryCompletion(choices=[Choice(message, _finish(answer))], usage=_usage(answer), **about)

    async def chunks(self) -> AsyncIterator[MemoryChunk]:
        told = False
        async for piece in self._answering:
            if not told:
                yield self._chunk(Delta(role="assistant", content=""), sources=list(self._answering.sources))
                told = True
            yield self._chunk(Delta(content=piece))
        answer = self._answer
        yield self._chunk(Delta(), _finish(answer), usage=_usage(answer), **_about(answer))

    @property
    def _answer(self) -> Answer:
        assert self._answering.answer is not None
        return self._answering.answer

    def _chunk(self, delta: Delta, finish: str | None = None, **more: Any) -> MemoryChunk:
        return MemoryChunk(choices=[ChunkChoice(delta, finish)], **self._same, **more)


def _about(answer: Answer) -> dict[str, Any]:
    return {"sources": list(answer.sources), "kind": answer.kind, "notes": list(answer.notes), "request": answer.id}


def _finish(answer: Answer) -> str:
    return FINISHES[answer.generated.finish] if answer.generated else "stop"


def _usage(answer: Answer) -> CompletionUsage:
    used = answer.generated
    prompt, completion = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
    return CompletionUsage(prompt, completion, prompt + completion)


def _conversation(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[tuple[str, str]], str]:
    """(what the system said, the exchanges before, the question)."""
    said = []
    for place, message in enumerate(messages):
        right = isinstance(message, Mapping) and message.get("role") in ROLES and isinstance(message.get("content"), str)
        if not right:
            raise ConfigError(f"message {place} is {message!r}; a dict with a role of {', '.join(ROLES)} and a text would be right")
        said.append((str(message["role"]), str(message["content"])))
    if not said or said[-1][0] != "user":
        raise ConfigError("the last message is what is asked: one of the role user would be right")
    instructions = "\n\n".join(text for role, text in said if role == "system")
    return instructions, [(role, text) for role, text in said[:-1] if role != "system"], said[-1][1]
