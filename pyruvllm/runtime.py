"""A memory, and what answers from it. How a request is answered: ``answering``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import host
from .answering import AnswerStream, Question
from .config import Config, GenerationConfig
from .embed import open_embedder
from .embed.embedder import Embedder
from .errors import ConfigError, LockedError, NotFoundError
from .kernels.registry import KernelRegistry
from .locking import Lockable, Reopen
from .memory.columns import checked_text
from .memory.documents import Document, DocumentStore
from .memory.forgetting import Forgetting, Forgotten
from .memory.kernels import KernelStatistics, accelerator, open_registry
from .memory.patterns import PatternStore
from .memory.policy import PolicyStore
from .memory.session import SessionIndex, Turn
from .memory.unified import UnifiedMemory
from .memory.witness import WitnessEntry, WitnessLog
from .models.citation import recited
from .models.shelf import ModelShelf
from .routing.router import PolicyRouter
from .storage import Secret, check, is_sealed_file, open_driver, open_sealed_file, sealed_file
from .storage.driver import Driver
from .types import Answer, ErrorInfo, Metadata

Stage = Callable[[str, int, int], None]  # (what is being done, done, total)


async def open(  # noqa: A001  the name users call: pyruvllm.open
    name: str | Path,
    *,
    config: Config | None = None,
    readonly: bool = False,
    embedder: Embedder | None = None,
    progress: Stage | None = None,
    passphrase: str | None = None,
    device_key: bool | None = None,
) -> "RuvLLM":
    """Opens the memory of that name, making it when there is none.

    In the browser ``name`` names a database of this origin; natively it is a name in the user's data folder or a path.
    Another tab or process that has it open is the writer: ``writable`` is then False here.
    Raises the StorageError family (nothing is overwritten) and ModelError.

    A passphrase or ``device_key=True`` (this browser's or this user's key) opens a sealed memory, and makes a new one sealed; see
    ``docs/sealing.md``. Without either this device's key is tried. LockedError, PassphraseError, TamperedError.
    """
    config = config or Config()
    step = progress or (lambda label, done, total: None)
    async def opened(secret: Secret) -> tuple[UnifiedMemory, KernelRegistry | None]:
        step("memory", 0, 1)
        driver = await open_driver(str(name), readonly=readonly, secret=secret)
        try:
            model = embedder or await open_embedder(driver, progress=lambda done, total: step("model", done, total))
            kernels = await open_registry(driver, config.clock)
            return await _memory(driver, model, config, kernels, lambda done, total: step("memory", done, total)), kernels
        except BaseException:
            await driver.close()
            raise

    llm = RuvLLM(*await opened(Secret(passphrase, device_key)), reopen=opened)
    await llm.witness.retain_if_due()
    return llm


class RuvLLM(Lockable):
    """A memory and what answers from it. ``async with await pyruvllm.open("name") as llm: ...``

    ``kernels``: what computes; None where this installation has no kernels. ``models``: language models, and the one that answers.
    """

    def __init__(self, memory: UnifiedMemory, kernels: KernelRegistry | None = None, reopen: Reopen | None = None):
        self._reopen = reopen
        self._attach(memory, kernels)
        self.models = ModelShelf(lambda: self.kernels, host.current(), self.config.clock)

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
        self.lock_after(memory.config.lock_after_minutes)

    def _witness_refused(self, kernels: KernelRegistry) -> None:
        """An entry for each pack of kernels that is not used, once for each reason."""
        for place, why in kernels.refused if self.writable else ():
            if not self.witness.count({"session": "kernels", "error.message": why}):
                query, error = f"Kernels: the {place} pack", ErrorInfo("PackError", why)
                self.witness.record(WitnessEntry(self.config.clock.new_id(), "kernels", query, self.router.route(), "none", error=error))

    @property
    def writable(self) -> bool:
        return self.memory.writable

    async def ask(
        self,
        text: str,
        *,
        session: str | None = None,
        k: int | None = None,
        where: Mapping[str, Any] | None = None,
        generation: GenerationConfig | None = None,
    ) -> Answer:
        """Answers from what is remembered: by the language model that is loaded, or by quoting where there is none.

        ``session`` names the conversation it belongs to, ``k`` is how many passages are recalled, ``where`` narrows them (see
        ``memory.filters``), ``generation`` says how a model answers. ConfigError for an empty question, FilterError, EmbeddingError; a
        request that fails is witnessed too.
        """
        stream = self.stream(text, session=session, k=k, where=where, generation=generation)
        async for _ in stream:
            pass
        assert stream.answer is not None
        return stream.answer

    def stream(
        self,
        text: str,
        *,
        session: str | None = None,
        k: int | None = None,
        where: Mapping[str, Any] | None = None,
        generation: GenerationConfig | None = None,
        history: Sequence[tuple[str, str]] | None = None,
        instructions: str = "",
    ) -> AnswerStream:
        """The same piece by piece: iterate for the text, then read ``.answer``; ``.sources`` is there from the first piece on.

        history: (role, text) of what was said before, instead of the session's turns; instructions: said to the model beside its own.
        """
        self.touch()
        text = checked_text(text, "the question").strip()
        how = generation or self.config.generation
        return AnswerStream(self, Question(text, session, k or self.config.recall.k, where, how, history, instructions))

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
        self.touch()
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

    async def forget(
        self, *, document: str | None = None, session: str | None = None, user: str | None = None, despite_hold: bool = False
    ) -> Forgotten:
        """Removes a document, a session, or all of a user, and says how much of what; see ``memory.forgetting``.

        On return it is gone from the stored database as well, and was searched for in vain. NotFoundError, HeldError.
        """
        await self.witness.flush()
        return await self.forgetting.forget(document=document, session=session, user=user, despite_hold=despite_hold)

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
        notes = tuple(turn.metadata.get("notes", ()))
        kind, decision = turn.metadata["kind"], entry.routing_decision
        return Answer(entry.request_id, turn.text, kind, sources, entry.latency, decision, generated=entry.generated, notes=notes)

    async def export(self, *, passphrase: str | None = None) -> bytes:
        """Everything, as one plain SQLite file; with a passphrase as a sealed file that it alone opens, here or in another host."""
        await self.flush()
        image = await self.memory.driver.export()
        return image if passphrase is None else await sealed_file(image, passphrase)

    async def restore(self, image: bytes, *, passphrase: str | None = None) -> None:
        """Puts an exported file in the place of everything here, durably; what is sealed here stays sealed as it is.

        CorruptError, NewerError or PassphraseError when the file cannot be used: then all stays as it was.
        """
        if passphrase is not None:
            image = await open_sealed_file(image, passphrase)
        elif is_sealed_file(image):
            raise LockedError("this file is sealed: restore it with its passphrase; everything is as it was")
        await self.flush()
        await self.memory.driver.replace(image, check)
        await self.witness.close()
        kernels = await open_registry(self.memory.driver, self.config.clock)
        self._attach(await _memory(self.memory.driver, self.memory.embedder, self.config, kernels), kernels)

    async def flush(self) -> None:
        """Returns when every answer given so far, with its witness entry, survives a crash."""
        await self.witness.flush()
        await self.memory.flush()
        await self.witness.retain_if_due()

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.stop()
        await self.models.unload()
        if not self.locked:
            await self.witness.close()
            await self.memory.close()

    async def __aenter__(self) -> "RuvLLM":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


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


def _first_line(text: str) -> str:
    line = next((line.strip("# \t") for line in text.splitlines() if line.strip("# \t")), "Untitled")
    return line if len(line) <= 80 else line[:79].rstrip() + "…"
