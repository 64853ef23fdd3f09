"""One request, from text to witness. Read ``AnswerStream._run`` top to bottom: that is the system."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .config import Config
from .embed import open_embedder
from .embed.embedder import Embedder
from .errors import ConfigError, NotFoundError
from .kernels.registry import KernelRegistry
from .memory.columns import checked_text
from .memory.documents import Document, DocumentStore
from .memory.forgetting import Forgetting, Forgotten
from .memory.kernels import KernelStatistics, accelerator, open_registry
from .memory.patterns import PatternStore
from .memory.policy import PolicyStore
from .memory.session import SessionIndex, Turn
from .memory.unified import UnifiedMemory
from .memory.witness import WitnessEntry, WitnessLog
from .models import extractive
from .models.citation import cited, kept, recited
from .routing.router import PolicyRouter
from .storage import check, open_driver
from .storage.driver import Driver
from .types import Answer, ErrorInfo, Hit, Latency, Metadata, RoutingDecision, Source

Stage = Callable[[str, int, int], None]  # (what is being done, done, total)


async def open(  # noqa: A001  the name users call: pyruvllm.open
    name: str | Path,
    *,
    config: Config | None = None,
    readonly: bool = False,
    embedder: Embedder | None = None,
    progress: Stage | None = None,
) -> "RuvLLM":
    """Opens the memory of that name, making it when there is none.

    In the browser ``name`` names a database of this origin; natively it is a name in the user's data folder or a path.
    Another tab or process that has it open is the writer: ``writable`` is then False here.
    Raises the StorageError family (nothing is overwritten) and ModelError.
    """
    config = config or Config()
    step = progress or (lambda label, done, total: None)
    step("memory", 0, 1)
    driver = await open_driver(str(name), readonly=readonly)
    try:
        embedder = embedder or await open_embedder(driver, progress=lambda done, total: step("model", done, total))
        kernels = await open_registry(driver, config.clock)
        return RuvLLM(await _memory(driver, embedder, config, kernels, lambda done, total: step("memory", done, total)), kernels)
    except BaseException:
        await driver.close()
        raise


class RuvLLM:
    """A memory and what answers from it. ``async with await pyruvllm.open("name") as llm: ...``

    ``kernels``: what computes; None where this installation has no kernels.
    """

    def __init__(self, memory: UnifiedMemory, kernels: KernelRegistry | None = None):
        self._attach(memory, kernels)

    def _attach(self, memory: UnifiedMemory, kernels: KernelRegistry | None) -> None:
        self.memory, self.kernels = memory, kernels
        self.config = memory.config
        self.documents = DocumentStore(memory)
        self.sessions = SessionIndex(memory)
        self.policies = PolicyStore(memory)
        self.patterns = PatternStore(memory, self.policies.latest("pattern").typed())  # type: ignore[arg-type]
        self.witness = WitnessLog(memory, memory.config.writeback)
        self.forgetting = Forgetting(memory)
        self.router = PolicyRouter(self.policies)
        if kernels is not None:
            statistics = KernelStatistics(self.policies, kernels)
            statistics.load()
            memory.before_flush = statistics.save_quietly
            self._witness_refused(kernels)

    def _witness_refused(self, kernels: KernelRegistry) -> None:
        """An entry for each pack of kernels that is not used, once for each reason."""
        for place, why in kernels.refused if self.writable else ():
            if not self.witness.count({"session": "kernels", "error.message": why}):
                query, error = f"Kernels: the {place} pack", ErrorInfo("PackError", why)
                self.witness.record(WitnessEntry(self.config.clock.new_id(), "kernels", query, self.router.route(), "none", error=error))

    @property
    def writable(self) -> bool:
        return self.memory.writable

    async def ask(self, text: str, *, session: str | None = None, k: int | None = None, where: Mapping[str, Any] | None = None) -> Answer:
        """Answers from what is remembered.

        ``session`` names the conversation it belongs to, ``k`` is how many passages are recalled, ``where`` narrows them (see
        ``memory.filters``). ConfigError for an empty question, FilterError, EmbeddingError; a request that fails is witnessed too.
        """
        stream = self.stream(text, session=session, k=k, where=where)
        async for _ in stream:
            pass
        assert stream.answer is not None
        return stream.answer

    def stream(
        self, text: str, *, session: str | None = None, k: int | None = None, where: Mapping[str, Any] | None = None
    ) -> "AnswerStream":
        """The same piece by piece: iterate for the text, then read ``.answer``; ``.sources`` is there from the first piece on."""
        return AnswerStream(self, checked_text(text, "the question").strip(), session, k or self.config.recall.k, where)

    async def remember(
        self,
        source: str | bytes | Path,
        *,
        title: str | None = None,
        media_type: str | None = None,
        metadata: Metadata | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Document:
        """Remembers a text, or the UTF-8 text file at a ``Path``, and returns when it is durable."""
        if isinstance(source, Path):
            title, source = title or source.name, source.read_bytes()
        if isinstance(source, bytes):
            try:
                source = source.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise ConfigError(f"{title or 'the file'} is not UTF-8 text (byte {error.start}); nothing was remembered") from None
        markdown = title is not None and title.lower().endswith((".md", ".markdown"))
        return await self.documents.add(
            title or _first_line(source),
            source,
            media_type=media_type or ("text/markdown" if markdown else "text/plain"),
            metadata=metadata,
            progress=progress,
        )

    async def forget(self, *, document: str | None = None, session: str | None = None, user: str | None = None) -> Forgotten:
        """Removes a document, a session, or all of a user, and says how much of what; see ``memory.forgetting``.

        On return it is gone from the stored database as well, and was searched for in vain. NotFoundError.
        """
        await self.witness.flush()
        return await self.forgetting.forget(document=document, session=session, user=user)

    async def feedback(self, id: str, quality: float) -> None:
        """How good the answer with that witness id was, 0 (useless) to 1 (right). Durable on return."""
        if not 0.0 <= quality <= 1.0:
            raise ConfigError(f"quality is {quality}; it goes from 0.0 to 1.0")
        await self.witness.rate(id, quality)

    def history(self, session: str) -> list[tuple[Turn, Answer | None]]:
        """The turns of a session in their order, those of the assistant with the answer as it was; forgotten sources are left out.

        NotFoundError for a session that is not there.
        """
        return [(turn, self._answer(turn)) for turn in self.sessions.history(session)]

    def _answer(self, turn: Turn) -> Answer | None:
        if turn.role != "assistant" or turn.witness is None:
            return None
        try:
            entry = self.witness.get(turn.witness)
        except NotFoundError:
            return None
        sources = recited(turn.metadata, self.memory)
        return Answer(entry.request_id, turn.text, turn.metadata["kind"], sources, entry.latency, entry.routing_decision)

    async def export(self) -> bytes:
        """Everything, as one SQLite file."""
        await self.flush()
        return await self.memory.driver.export()

    async def restore(self, image: bytes) -> None:
        """Puts an exported file in the place of everything here, durably.

        CorruptError or NewerError when the file cannot be used: then all stays as it was.
        """
        await self.flush()
        await self.memory.driver.replace(image, check)
        await self.witness.close()
        kernels = await open_registry(self.memory.driver, self.config.clock)
        self._attach(await _memory(self.memory.driver, self.memory.embedder, self.config, kernels), kernels)

    async def flush(self) -> None:
        """Returns when every answer given so far, with its witness entry, survives a crash."""
        await self.witness.flush()
        await self.memory.flush()

    async def close(self) -> None:
        await self.witness.close()
        await self.memory.close()

    async def __aenter__(self) -> "RuvLLM":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AnswerStream:
    """An answer on its way: an async iterator of pieces of text. Each can be iterated once."""

    def __init__(self, llm: RuvLLM, text: str, session: str | None, k: int, where: Mapping[str, Any] | None):
        self.llm, self.text, self.session, self.k, self.where = llm, text, session, k, where
        self.sources: tuple[Source, ...] = ()
        self.answer: Answer | None = None
        self._pieces = self._run()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces

    async def _run(self) -> AsyncIterator[str]:
        llm, clock = self.llm, self.llm.config.clock
        request, started, watch = clock.new_id(), clock.now_ms(), _Watch(clock.elapsed_ms)
        query: np.ndarray | None = None
        hits: Sequence[Hit] = ()
        routing: RoutingDecision | None = None
        made: extractive.Composition | None = None
        try:
            query = (await llm.memory.embedder.embed([self.text]))[0]
            watch.lap("embedding_ms")

            hits = llm.memory.search_with(self.text, query, self.k, where=self.where, collections=("documents",))
            watch.lap("retrieval_ms")

            routing = llm.router.route()
            watch.lap("routing_ms")

            made = await extractive.compose(self.text, query, hits, llm.memory.embedder)
            self.sources = cited(hits, made.quotes)
            for piece in made.text.splitlines(keepends=True):
                yield piece
            watch.lap("generation_ms")
        except BaseException as error:  # a cancelled request is witnessed too
            self._witness(request, started, query, hits, made, routing, watch.latency(), ErrorInfo(type(error).__name__, str(error)))
            raise

        latency = watch.latency()
        recorded = self._witness(request, started, query, hits, made, routing, latency, None)
        self.answer = Answer(request, made.text, made.kind, self.sources, latency, routing, recorded)

    def _witness(
        self,
        request: str,
        started: int,
        query: np.ndarray | None,
        hits: Sequence[Hit],
        made: extractive.Composition | None,
        routing: RoutingDecision | None,
        latency: Latency,
        error: ErrorInfo | None,
    ) -> bool:
        """Session and witness log learn what happened. False where the memory is read-only."""
        llm = self.llm
        if not llm.writable:
            return False
        session = llm.sessions.open(self.session)
        if made is not None:
            with llm.memory.transaction():
                llm.sessions.append(session.id, "user", self.text, vector=query, witness=request)
                llm.sessions.append(session.id, "assistant", made.text, witness=request, metadata=kept(made.kind, self.sources))
        llm.witness.record(
            WitnessEntry(
                request_id=request,
                session_id=session.id,
                query=self.text,
                query_embedding=query,
                response_embedding=made.vector if made else None,
                routing_decision=routing or llm.router.route(),
                model_used=made.kind if made else "none",
                latency=latency,
                context_doc_ids=tuple(hit.id for hit in hits),
                timestamp=started,
                error=error,
            )
        )
        return True


async def _memory(
    driver: Driver,
    embedder: Embedder,
    config: Config,
    kernels: KernelRegistry | None,
    progress: Callable[[int, int], None] | None = None,
) -> UnifiedMemory:
    """The memory in that database; what was embedded by another model is embedded anew from its text first."""
    memory = await UnifiedMemory.open(driver, embedder, config, accelerator=accelerator(kernels), progress=progress)
    for collection in memory.collections():
        if memory.writable and collection.space not in (None, embedder.space.key):
            await memory.reembed(collection.name, progress)
    return memory


class _Watch:
    """Laps of one request, in milliseconds."""

    def __init__(self, now: Callable[[], float]):
        self.now = now
        self.start = self.last = now()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = self.now()
        self.laps[name], self.last = now - self.last, now

    def latency(self) -> Latency:
        return replace(Latency(**self.laps), total_ms=self.now() - self.start)


def _first_line(text: str) -> str:
    line = next((line.strip("# \t") for line in text.splitlines() if line.strip("# \t")), "Untitled")
    return line if len(line) <= 80 else line[:79].rstrip() + "…"
