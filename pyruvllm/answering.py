"""One request, from text to witness. Read ``AnswerStream._run`` top to bottom: that is the system."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from .config import Config, GenerationConfig
from .errors import NotFoundError, RuvLLMError
from .memory.requests import Requests
from .memory.session import SessionIndex
from .memory.unified import UnifiedMemory
from .memory.witness import WitnessEntry
from .models import extractive
from .models.citation import cited, kept
from .models.extractive import Composition
from .models.generative import Writing
from .models.grounding import Message, ground
from .models.shelf import ModelShelf
from .routing.router import PolicyRouter
from .types import Answer, ErrorInfo, Generated, Hit, Latency, RoutingDecision, Source

QUOTED = "No language model is loaded: this is quoted from memory."
ASKED_FOR = "Quoted from memory, as the settings ask for."


class Parts(Protocol):
    """What is needed of a ``RuvLLM``."""

    memory: UnifiedMemory
    models: ModelShelf
    config: Config
    sessions: SessionIndex
    requests: Requests
    router: PolicyRouter

    @property
    def writable(self) -> bool: ...

    def ran_out(self) -> None: ...


@dataclass(frozen=True)
class Question:
    """What is asked, and how. history: messages before it; None: those of the session."""

    text: str
    session: str | None
    k: int
    where: Mapping[str, Any] | None
    generation: GenerationConfig
    history: Sequence[Message] | None = None
    instructions: str = ""  # to the model, beside its own
    user: str | None = None


class AnswerStream:
    """An answer on its way: an async iterator of pieces of text. Each can be iterated once.

    ``sources`` is there from the first piece on, ``answer`` at the end. Where a model writes, the first piece is empty: it comes before the
    model reads what was found, which takes a while. ``stop()`` ends what a model writes within one token: the answer
    is then what was written so far. Leaving the iterator, or cancelling, ends it too, without an answer.
    """

    def __init__(self, llm: Parts, question: Question):
        self.llm, self.question = llm, question
        self.sources: tuple[Source, ...] = ()
        self.answer: Answer | None = None
        self._query: np.ndarray | None = None
        self._hits: Sequence[Hit] = ()
        self._routing: RoutingDecision | None = None
        self._made: Composition | None = None
        self._generated: Generated | None = None
        self._notes: tuple[str, ...] = ()
        self._behind: tuple[str, ...] = ()  # passages that stand behind what the model was told of the conversation
        self._writing: Writing | None = None
        self._stopped = False
        self._pieces = self._run()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces

    @property
    def generating(self) -> bool:
        """A language model is writing."""
        return self._writing is not None

    def stop(self) -> None:
        self._stopped = True
        if self._writing is not None:
            self._writing.stop()

    async def _run(self) -> AsyncIterator[str]:
        llm, asked, clock = self.llm, self.question, self.llm.config.clock
        request, started, watch = clock.new_id(), clock.now_ms(), _Watch(clock.elapsed_ms)
        try:
            self._query = (await llm.memory.embedder.embed([asked.text]))[0]
            watch.lap("embedding_ms")

            self._hits = llm.memory.search_with(asked.text, self._query, asked.k, where=asked.where, collections=("documents",))
            watch.lap("retrieval_ms")

            self._routing = llm.router.route()
            watch.lap("routing_ms")

            async with aclosing(self._written(watch) if llm.models.model else self._quoted()) as pieces:
                async for piece in pieces:
                    yield piece
            watch.lap("generation_ms")
        except BaseException as error:  # a cancelled request is witnessed too
            self._witness(request, started, watch.latency(), ErrorInfo(type(error).__name__, str(error)))
            raise

        assert self._made is not None
        latency = watch.latency()
        recorded = self._witness(request, started, latency, None)
        made, told = self._made, self._notes
        self.answer = Answer(request, made.text, made.kind, self.sources, latency, self._routing, recorded, self._generated, told)

    async def _quoted(self, why: str = QUOTED) -> AsyncIterator[str]:
        """Sentences of the passages; why: no model writes."""
        self._notes = (why,) if why != QUOTED or self.llm.models.model else ()
        self._made = await extractive.compose(self.question.text, self._query, self._hits, self.llm.memory.embedder)
        self.sources = cited(self._hits, self._made.quotes)
        for piece in self._made.text.splitlines(keepends=True):
            yield piece

    async def _written(self, watch: "_Watch") -> AsyncIterator[str]:
        """What the model writes; where it cannot, or writes nothing, sentences of the passages, and why."""
        why: str | None = ASKED_FOR
        if self.question.generation.use_model:
            why = None
            self.sources = cited(self._hits, ())
            try:
                async with self.llm.models.turn() as model:
                    if model is None:
                        why = "The language model was unloaded: this is quoted from memory."
                    else:
                        async for piece in self._write(model, watch):
                            yield piece
            except (RuvLLMError, MemoryError) as error:
                if not isinstance(error, RuvLLMError):  # a pool that is full is one, too, and has its reasons
                    self.llm.ran_out()
                why = f"The language model could not answer ({error}): this is quoted from memory."
            if self._writing is not None and self._writing.text.strip():
                await self._finish(self._writing, why)
                return
            why = why or "The language model wrote nothing: this is quoted from memory."
        self._writing = self._generated = None
        async for piece in self._quoted(why):
            yield piece

    async def _write(self, model: Any, watch: "_Watch") -> AsyncIterator[str]:
        config, models = self.question.generation, self.llm.models
        assert self._routing is not None
        room = min(model.runner.context, config.context)
        answer = min(config.max_tokens, room // 2)
        asked, before = self.question, self._history(config.history)
        grounding = ground(model, asked.text, self._hits, before, room - answer, asked.instructions)
        writing = self._writing = Writing(model, grounding, self._hits, config, self._routing, room, asked.session, self._adapter())
        models.began(writing)
        if self._stopped:
            writing.stop()
        name, first = models.loaded.name if models.loaded else model.name, 0.0
        yield ""
        try:
            async with aclosing(writing.__aiter__()) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    first = first or watch.elapsed()
                    yield piece
        finally:
            used = writing.generation.usage
            speed, finish = used.tokens_per_second, writing.finish or "cancelled"
            told = [each for each in used.guesses if each.drafted or each.off]
            guessed = sum(each.drafted for each in told), sum(each.accepted for each in told), ". ".join(map(str, told))
            self._generated = Generated(name, len(grounding.ids), used.completion_tokens, first, speed, finish, *guessed)
            models.wrote(self._generated)

    async def _finish(self, writing: Writing, failed: str | None) -> None:
        """The answer that the model wrote; failed: why it ended before its time."""
        text = writing.text
        self._notes = (*writing.notes, f"It ended early: {failed}") if failed else writing.notes
        quotes = writing.quotes
        self.sources = cited(self._hits, quotes)
        vector = (await self.llm.memory.embedder.embed([text]))[0]
        self._made = Composition(text, "generated", quotes, vector)

    def _adapter(self) -> str | None:
        """That of the session, if it has one."""
        try:
            return None if self.question.session is None else self.llm.sessions.get(self.question.session).active_adapter
        except NotFoundError:
            return None

    def _history(self, most: int) -> list[Message]:
        """The last exchanges before the question. What stood behind the answers stands behind the next one too."""
        asked = self.question
        if asked.history is not None:
            return list(asked.history)[-2 * most :] if most else []
        if asked.session is None or not most:
            return []
        try:
            turns = self.llm.sessions.history(asked.session, 2 * most)
        except NotFoundError:
            return []
        behind = [source["id"] for turn in turns for source in turn.metadata.get("sources", ())]
        behind += [id for turn in turns for id in turn.metadata.get("behind", ())]
        self._behind = tuple(dict.fromkeys(behind))
        return [(turn.role, turn.text) for turn in turns]

    def _witness(self, request: str, started: int, latency: Latency, error: ErrorInfo | None) -> bool:
        """Session and witness log learn what happened, here or in the tab that writes. False where nothing can be written."""
        llm, asked, made = self.llm, self.question, self._made
        if not llm.writable:
            return False
        session, turns = asked.session or llm.config.clock.new_id(), list[dict[str, Any]]()
        if made is not None:
            details = kept(made.kind, self.sources, self._notes, self._behind)
            turns.append({"role": "user", "text": asked.text, "vector": self._query, "witness": request})
            turns.append({"role": "assistant", "text": made.text, "witness": request, "metadata": details})
        entry = WitnessEntry(
            request_id=request,
            session_id=session,
            query=asked.text,
            query_embedding=self._query,
            response_embedding=made.vector if made else None,
            routing_decision=self._routing or self._as_routed(),
            model_used=self._generated.model if self._generated else made.kind if made else "none",
            latency=latency,
            context_doc_ids=tuple(hit.id for hit in self._hits),
            timestamp=started,
            error=error,
            generated=self._generated,
            user_id=asked.user,
        )
        return llm.requests.record(session, turns, entry)

    def _as_routed(self) -> RoutingDecision:
        """Of a request that failed before it was routed, or by that."""
        try:
            return self.llm.router.route()
        except RuvLLMError:
            return self.llm.router.stated()


class _Watch:
    """Laps of one request, in milliseconds."""

    def __init__(self, now: Callable[[], float]):
        self.now = now
        self.start = self.last = now()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = self.now()
        self.laps[name], self.last = now - self.last, now

    def elapsed(self) -> float:
        return self.now() - self.start

    def latency(self) -> Latency:
        return replace(Latency(**self.laps), total_ms=self.elapsed())
