"""A memory, and what answers from it. How a request is answered: ``answering``."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import host
from .answering import AnswerStream, Question
from .config import Config, GenerationConfig
from .embed import open_embedder
from .embed.embedder import Embedder
from .errors import ConfigError, DuplicateError, FencedError, NotFoundError, QuotaError, ReadOnlyError
from .kernels.registry import KernelRegistry
from .locking import Lockable, Reopen, unsealed
from .memory import room
from .memory.columns import checked_text
from .memory.documents import Document, DocumentStore
from .memory.forgetting import Forgetting, Forgotten
from .memory.kernels import KernelStatistics, accelerator, open_registry
from .memory.patterns import PatternStore
from .memory.policy import PolicyStore
from .memory.requests import Requests
from .memory.room import Room, StorageReport
from .memory.session import SessionIndex, Turn
from .memory.unified import UnifiedMemory
from .memory.witness import WitnessEntry, WitnessLog
from .models.citation import recited
from .models.shelf import ModelShelf
from .pooling import Pooled
from .routing.router import PolicyRouter
from .storage import Secret, check, delete_database, migrate, open_driver, sealed_file
from .storage.driver import Driver
from .storage.schema import MIGRATIONS
from .tabs import Tabbed
from .types import Answer, ErrorInfo, Metadata

MAKING = 100  # tenths of a second that a tab waits for another one to make the memory
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
    In the browser several tabs may have it open: one writes, the others have it write for them, see what it saved within a second
    and take its place when it is gone (``role``). Natively a second process reads the moment at which it opened.
    Raises the StorageError family (nothing is overwritten) and ModelError.

    A passphrase or ``device_key=True`` (this browser's or this user's key) opens a sealed memory, and makes a new one sealed; see
    ``docs/sealing.md``. Without either this device's key is tried. LockedError, PassphraseError, TamperedError.
    """
    config = config or Config()
    step = progress or (lambda label, done, total: None)

    async def opened(secret: Secret) -> tuple[UnifiedMemory, KernelRegistry | None]:
        step("memory", 0, 1)
        driver = await open_driver(str(name), readonly=readonly, secret=secret)
        for _ in range(MAKING):
            if driver.role != "follower" or check(driver) == len(MIGRATIONS):
                break
            await driver.close()  # another tab is just making it, or brings it to this version
            await asyncio.sleep(0.1)
            driver = await open_driver(str(name), readonly=readonly, secret=secret)
        return await _parts(driver, config, embedder, step)

    llm = RuvLLM(*await opened(Secret(passphrase, device_key)), reopen=opened)
    await llm.witness.retain_if_due()
    return llm


async def open_bytes(
    image: bytes,
    name: str | Path = ":memory:",
    *,
    config: Config | None = None,
    passphrase: str | None = None,
    embedder: Embedder | None = None,
    progress: Stage | None = None,
) -> "RuvLLM":
    """Opens a memory made of what ``export_bytes`` gave, under a name that is not taken yet, or for as long as it is open.

    ``passphrase`` opens a sealed file; the memory that is made of it is plain until ``protect``. DuplicateError where there is a memory of
    that name, which stays as it is; CorruptError, NewerError, LockedError or PassphraseError for bytes that cannot be used.
    """
    how = config or Config(), embedder, progress or (lambda label, done, total: None)

    async def opened(secret: Secret) -> tuple[UnifiedMemory, KernelRegistry | None]:
        return await _parts(await open_driver(str(name), secret=secret), *how)

    image = await unsealed(image, passphrase)
    driver = await open_driver(str(name))
    taken = driver.query("SELECT count(*) FROM sqlite_schema") != [(0,)]
    try:
        if taken:
            raise DuplicateError(f"there is a memory named {str(name)!r}, nothing in it was changed; open it and `restore` to replace it")
        await driver.replace(image, check)
        parts = await _parts(driver, *how)
    except BaseException:
        await driver.close()
        if not taken and str(name) != ":memory:":
            await delete_database(str(name))
        raise
    return RuvLLM(*parts, reopen=opened)


async def _parts(driver: Driver, config: Config, embedder: Embedder | None, step: Stage) -> tuple[UnifiedMemory, KernelRegistry | None]:
    try:
        if driver.writable and check(driver) < len(MIGRATIONS):
            migrate(driver, clock=config.clock)
            with suppress(QuotaError):  # further tabs wait for it; opening needs no room
                await driver.flush()
        model = embedder or await open_embedder(driver, progress=lambda done, total: step("model", done, total))
        kernels = await open_registry(driver, config.clock)
        return await _memory(driver, model, config, kernels, lambda done, total: step("memory", done, total)), kernels
    except BaseException:
        await driver.close()
        raise


class RuvLLM(Lockable, Pooled, Tabbed):
    """A memory and what answers from it. ``async with await pyruvllm.open("name") as llm: ...``

    ``kernels``: what computes; None where this installation has no kernels. ``models``: language models, and the one that answers.
    """

    def __init__(self, memory: UnifiedMemory, kernels: KernelRegistry | None = None, reopen: Reopen | None = None):
        self._reopen = reopen
        self._attach(memory, kernels)
        keeping = self._caching, self._unpooled, self._driver, self._check
        self.models = ModelShelf(lambda: self.kernels, host.current(), self.config.clock, *keeping)

    def _attach(self, memory: UnifiedMemory, kernels: KernelRegistry | None) -> None:
        self.memory, self.kernels = memory, kernels
        self.config = memory.config
        self.documents = DocumentStore(memory)
        self.sessions = SessionIndex(memory)
        self.policies = PolicyStore(memory)
        self.patterns = PatternStore(memory, lambda: self.policies.latest("pattern").typed())  # type: ignore[arg-type, return-value]
        self.witness = WitnessLog(memory, memory.config.writeback)
        self.forgetting = Forgetting(memory)
        self.router = PolicyRouter(self.policies)
        self.requests = Requests(memory, self.sessions, self.witness)
        memory.operations.add("make_room", self._make_room)
        memory.operations.add("forget", self._forget, finish=memory.driver.scrub)
        if kernels is not None:
            statistics = KernelStatistics(self.policies, kernels)
            statistics.load()
            memory.before_flush.append(statistics.save)
            self._witness_refused(kernels)
        self.serve_writes()
        self.lock_after(memory.config.lock_after_minutes)
        memory.told.append(self._told)
        memory.forgotten.append(lambda: self.models.forget_soon())
        memory.join()

    def _witness_refused(self, kernels: KernelRegistry) -> None:
        """An entry for each pack of kernels that is not used, once for each reason."""
        for place, why in kernels.refused if self.memory.writable else ():
            if not self.witness.count({"session": "kernels", "error.message": why}):
                query, error = f"Kernels: the {place} pack", ErrorInfo("PackError", why)
                self.witness.record(WitnessEntry(self.config.clock.new_id(), "kernels", query, self.router.route(), "none", error=error))

    async def ask(
        self,
        text: str,
        *,
        session: str | None = None,
        user: str | None = None,
        k: int | None = None,
        where: Mapping[str, Any] | None = None,
        generation: GenerationConfig | None = None,
    ) -> Answer:
        """Answers from what is remembered: by the language model that is loaded, or by quoting where there is none.

        ``session`` names the conversation it belongs to, ``user`` whose it is, ``k`` is how many passages are recalled, ``where`` narrows
        them (see ``memory.filters``), ``generation`` says how a model answers. ConfigError for an empty question and for the session of
        another user, FilterError, EmbeddingError; a request that fails is witnessed too.
        """
        stream = self.stream(text, session=session, user=user, k=k, where=where, generation=generation)
        async for _ in stream:
            pass
        assert stream.answer is not None
        return stream.answer

    def stream(
        self,
        text: str,
        *,
        session: str | None = None,
        user: str | None = None,
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
        self.sessions.check_user(session, user)
        return AnswerStream(self, Question(text, session, k or self.config.recall.k, where, how, history, instructions, user))

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

        On return it is gone from the stored database as well, and was searched for in vain. What a loaded model keeps of conversations
        goes as a whole, in the tab that writes, which waits for the answer that is being written, and in all others. NotFoundError,
        HeldError.
        """
        of = {"document": document, "session": session, "user": user, "despite_hold": despite_hold}
        await self.requests.flush()
        forgotten = Forgotten(**await self.memory.operations.run("forget", **of))
        await self.models.forget()
        return forgotten

    async def _forget(self, **of: Any) -> dict[str, int]:
        await self.witness.drain()
        async with self.models.alone():
            self.witness.settle()  # what was recorded in the meantime
            forgotten = asdict(await self.forgetting.forget(**of))
        await self.witness.drain()  # of what had its rows a moment ago, nothing is kept in memory either
        return forgotten

    async def feedback(self, id: str, quality: float) -> None:
        """How good the answer with that witness id was, 0 (useless) to 1 (right). Durable on return."""
        if not 0.0 <= quality <= 1.0:
            raise ConfigError(f"quality is {quality}; it goes from 0.0 to 1.0")
        await self.requests.queue.flush()
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

    async def export_bytes(self, *, passphrase: str | None = None) -> bytes:
        """Everything, as one plain SQLite file, the same bytes wherever the memory is; ``open_bytes`` opens it. With a passphrase as a
        sealed file that it alone opens, here or in another host.
        """
        await self.flush()
        image = await self.memory.driver.export()
        return image if passphrase is None else await sealed_file(image, passphrase)

    export = export_bytes

    async def storage(self) -> StorageReport:
        """What the memory takes, by collection. The figures come from its tables and add up to its size."""
        return await room.report(self.memory)

    async def make_room(self, *, indexes: bool = False) -> Room:
        """Lets go of what can be made again, and gives what is free back to the disk; says what went. Nothing of a user's is touched.

        What goes: the cache of embeddings, keys and values of conversations, packs of kernels that newer ones replaced; with ``indexes``
        the saved graphs, which the next opening makes anew from the rows. QuotaError when there is no room for the smaller copy: then
        all is as it was, in memory too.
        """
        return Room(**await self.memory.operations.run("make_room", indexes=indexes))

    async def _make_room(self, indexes: bool) -> dict[str, Any]:
        return asdict(await room.make_room(self.memory, indexes))

    async def restore(self, image: bytes, *, passphrase: str | None = None) -> None:
        """Puts an exported file in the place of everything here, durably; what is sealed here stays sealed as it is.

        CorruptError, NewerError or PassphraseError when the file cannot be used: then all stays as it was.
        """
        image = await unsealed(image, passphrase)
        await self.flush()
        await self.memory.driver.take_over()
        await self.memory.driver.replace(image, check)
        await self.requests.close()
        await self.memory.rest()
        kernels = await open_registry(self.memory.driver, self.config.clock)
        self._attach(await _memory(self.memory.driver, self.memory.embedder, self.config, kernels), kernels)
        await self.models.adapters.renew()

    async def flush(self) -> None:
        """Returns when every answer given so far, with its witness entry, survives a crash."""
        try:
            await self.requests.flush()
            await self.memory.flush()
            self._settle()
        except (FencedError, ReadOnlyError):
            if self.role != "follower":
                raise
            self.requests.release()
            await self.requests.flush()
        await self.witness.retain_if_due()

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.stop()
        await self.models.unload()
        if not self.locked:
            await self.requests.close()
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
