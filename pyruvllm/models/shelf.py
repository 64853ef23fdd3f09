"""Which language models there are for a memory, and the one that is loaded: from the catalogue, from what is kept here, from a file.

await llm.models.load("lfm2-350m")             # downloaded and kept, unless it is there
await llm.models.load(Path("model.gguf"))
await llm.models.load_draft("lfm2-350m")       # beside a larger one of its family, for which it guesses
llm.models.loaded, llm.models.draft, await llm.models.unload()
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cache import PAGE, Caching
from ..config import Clock
from ..errors import HostError, ModelError, NotFoundError
from ..host import Host
from ..kernels.registry import KernelRegistry
from ..storage.driver import Driver
from ..types import Generated
from . import builtin, catalog
from .adapter_shelf import AdapterShelf
from .decoder import own_cache
from .dialogue import Dialogue
from .footprint import of_head
from .generative import Writing
from .language import CONTEXT, LanguageModel
from .onnx_lm import OnnxLanguageModel, open_onnx
from .remote import Remote
from .sampling import Sampling
from .shape import Shape
from .source import Bytes, ByteSource, head_of
from .speculative import same_tokens, unlike
from .store import ModelStore, StoredModel, open_store
from .together import Prompt, Together
from .tokenizer import load as read_tokenizer

Stage = Callable[[str, int, int], None]  # (what is being done, bytes done, bytes in all)


@dataclass(frozen=True)
class Loaded:
    """The model that answers. id: of what is stored, "built-in", or a name of its own; last: how it wrote the last answer; draft: what
    guesses for it.
    """

    id: str
    name: str
    architecture: str
    nbytes: int  # weights and cache
    context: int  # tokens
    load_ms: float
    last: Generated | None = None
    draft: "Loaded | None" = None


@dataclass(frozen=True)
class BuiltIn:
    """The small model that comes with the package, as its model.json says."""

    title: str
    file: str
    size: int
    licence: str


class ModelShelf:
    """One model at a time is loaded, and writes one answer at a time; what else is asked waits its turn.

    caching: gives where conversations are kept, for a model of which one takes that many bytes; without it there is room for one.
    uncached: called when none are kept there any more. driver: of the memory that ``adapters`` are kept in. check: raises where
    conversations of a model of that shape cannot be.
    """

    def __init__(
        self,
        kernels: Callable[[], KernelRegistry | None],
        host: Host,
        clock: Clock,
        caching: Callable[[int], Caching] | None = None,
        uncached: Callable[[], None] = lambda: None,
        driver: Callable[[], Driver | None] = lambda: None,
        check: Callable[[Shape], None] = lambda shape: None,
    ) -> None:
        self.model: Dialogue | None = None
        self.loaded: Loaded | None = None
        self._kernels, self._host, self._clock = kernels, host, clock
        self._caching, self._uncached, self._check = caching, uncached, check
        self._turn = asyncio.Lock()
        self._answering = self._stale = False
        self._writing: Writing | Together | None = None
        self._spoken: Together | None = None
        self.adapters = AdapterShelf(self, driver, host, clock)
        self._store: ModelStore | None = None
        self.draft: Loaded | None = None  # what guesses for the model
        self._draft: LanguageModel | None = None

    async def store(self) -> ModelStore:
        """The files that are kept on this device. StorageError where that is not possible."""
        if self._store is None:
            self._store = await open_store(self._host, self._clock)
        return self._store

    async def built_in(self) -> BuiltIn | None:
        """None where this installation comes without."""
        try:
            about = builtin.about()
        except ModelError:
            return None
        return BuiltIn(about["title"], about["file"], about["bytes"], about["licence"])

    def fits(self, needed: int) -> catalog.Fit:
        """Whether a model of so many bytes has room in the place of the one that is loaded."""
        return catalog.fits(needed, self._host.device(), held=sum(each.nbytes for each in (self.loaded, self.draft) if each))

    async def keep(self, source: Any, name: str, progress: Stage | None = None) -> StoredModel:
        """A copy on this device of a file of the user's: a path, or in the browser a File. See ``ModelStore.add``."""
        file = self._host.file(source)
        try:
            return await (await self.store()).add(file, name, _told(progress, "Copying to this device"))
        finally:
            await file.close()

    async def download(self, id: str, *, restart: bool = False, progress: Stage | None = None) -> StoredModel:
        """A model of the catalogue, or the file at an address, kept on this device; see ``ModelStore.download``. NotFoundError."""
        tell = _told(progress, "Downloading")
        store = await self.store()
        if "://" in id:
            return await store.download(id, restart=restart, progress=tell)
        entry = catalog.find(id)
        return await store.download(entry.url, sha256=entry.sha256, entry=entry.id, restart=restart, progress=tell)

    async def load(
        self, source: Any, *, context: int = CONTEXT, keep: bool = True, draft: Any = None, progress: Stage | None = None
    ) -> Loaded:
        """Loads a model in the place of the one that is there; draft: and another that guesses for it, as ``load_draft`` has it;
        where that one cannot be loaded, the model stays without.

        source: "built-in", an id of the catalogue, an id or sha256 of a stored file, an address, a path, or in the browser a File. What
        comes from the network is kept on this device, unless ``keep`` is False: then it goes from the stream into memory alone. What can
        be known of a file without reading it whole is checked before the loaded model goes. Raises the ModelError and StorageError
        families, NotFoundError, and HostError where there are no kernels.
        """
        kernels = self._needed_kernels()
        id, name, file = await self._opened(source, keep, progress)
        try:
            begun = self._clock.elapsed_ms()
            head = await head_of(file)
            shape, need = Shape.of(head.metadata), of_head(head, context)
            self._check(shape)
            fit, limit = self.fits(need.total), self._host.device().limit
            if limit is not None and need.total > limit:  # else it is tried: the memory that is held may be free inside
                raise ModelError(f"{name} does not fit. {fit.why}")
            await self.unload()
            async with self._turn:
                try:
                    self.model = model = await LanguageModel.load(
                        file, kernels, context=context, clock=self._clock, progress=_told(progress, "Loading into memory"),
                        caching=self._caching and self._caching(need.cache),
                    )  # fmt: skip
                except MemoryError as error:
                    self._let_go()
                    why = f"memory ended while it was loaded, and no model is loaded now. {fit.why}"
                    raise ModelError(f"{name} does not fit: {why}") from error
                except BaseException:
                    self._let_go()
                    raise
                self.adapters.offer(model)
            self.loaded = self._described(id, name, model, begun)
        finally:
            await file.close()
        if draft is not None:
            await self.load_draft(draft, keep=keep, progress=progress)
        return self.loaded

    async def load_draft(self, source: Any, *, keep: bool = True, progress: Stage | None = None) -> Loaded:
        """Loads a smaller model beside the one that answers, which guesses what that will say: several of its tokens are then checked in
        one pass, and the text stays the same (``speculative``). It takes the place of another draft, and goes with the model.

        source, keep: as of ``load``. What it keeps of the text draws on the pool of the conversations, and gives way to them. ModelError
        where no model is loaded, for one that has other tokens, and where the two do not fit together: all is then as it was; where memory
        ends while it is loaded the model stays, without a draft. Raises as ``load``.
        """
        target = self.model
        if target is None or self.loaded is None:
            raise ModelError("there is no model that a draft could guess for: load one first; nothing was loaded")
        kernels = self._needed_kernels()
        id, name, file = await self._opened(source, keep, progress)
        try:
            begun = self._clock.elapsed_ms()
            head = await head_of(file)
            shape, need = Shape.of(head.metadata), of_head(head, target.runner.context)
            mine, its = read_tokenizer(head.metadata).vocabulary, target.tokenizer.vocabulary
            if not same_tokens(mine, its):
                raise ModelError(f"{unlike(name, mine, self.loaded.name, its)}; {self.loaded.name} stays as it is.")
            device, held, both = self._host.device(), self.loaded.nbytes, self.loaded.nbytes + need.total + need.work
            fit = catalog.fits(both, device, held=held)
            if device.limit is not None and both > device.limit:
                raise ModelError(f"{name} does not fit beside {self.loaded.name}. {fit.why}")
            await self.unload_draft()
            async with self._turn:
                if self.model is not target:
                    raise ModelError(f"the model that {name} was to guess for is gone; no draft is loaded")
                try:
                    draft = await LanguageModel.load(
                        file, kernels, context=target.runner.context, clock=self._clock, progress=_told(progress, "Loading into memory"),
                        caching=Caching(own_cache(shape, kernels, PAGE).pool),  # of its own text; the other's is in the other's pool
                    )  # fmt: skip
                    target.assist(draft)
                except MemoryError as error:
                    gc.collect()
                    raise ModelError(f"{name} does not fit beside {self.loaded.name}, which stays. {fit.why}") from error
            self._draft, self.draft = draft, self._described(id, name, draft, begun)
            self.loaded = replace(self.loaded, draft=self.draft)
            return self.draft
        finally:
            await file.close()

    async def unload_draft(self) -> None:
        """Gives the draft's memory back; the model answers on. Nothing happens where there is none."""
        async with self._turn:
            self._dismiss()

    async def load_onnx(
        self,
        folder: str,
        file: str = "onnx/model.onnx",
        *,
        external: Sequence[str] = (),
        context: int = CONTEXT,
        progress: Stage | None = None,
    ) -> Loaded:
        """Loads a language model in ONNX in the place of the one that is there; it runs in onnxruntime, one conversation after the other.

        folder: of assets, laid out as on the Hub: beside the page in the browser, under PYRUVLLM_ASSETS natively; external: files beside
        the graph that hold its weights. Raises the ModelError family, and HostError where there is no onnxruntime.
        """
        begun = self._clock.elapsed_ms()
        loading = _told(progress, "Loading into memory")
        model = await open_onnx(self._host, folder, file, external=external, context=context, clock=self._clock, progress=loading)
        await self.unload()
        async with self._turn:
            self.model, self.loaded = model, self._described(folder, folder, model, begun)
        return self.loaded

    def _needed_kernels(self) -> KernelRegistry:
        kernels = self._kernels()
        if kernels is None:
            raise HostError("language models need kernels, and this installation has none: pip install 'pyruvllm[native,models]'")
        return kernels

    def _described(self, id: str, name: str, model: Dialogue, begun: float) -> Loaded:
        """name: where its file gives none; begun: when loading did."""
        shown, kind = str(model.metadata.get("general.name") or name), str(model.metadata.get("general.architecture"))
        return Loaded(id, shown, kind, model.nbytes, model.runner.context, self._clock.elapsed_ms() - begun)

    async def unload(self) -> None:
        """Gives the model's memory back. An answer that it is writing ends where it is."""
        if self._writing is not None:
            self._writing.stop()
        async with self._turn:
            if isinstance(self.model, OnnxLanguageModel):
                await self.model.release()
            if self.model is not None:
                self._let_go()

    def _dismiss(self) -> None:
        if self._draft is None:
            return
        self._draft.close()
        self._draft = self.draft = None
        if self.loaded is not None:
            self.loaded = replace(self.loaded, draft=None)
        gc.collect()

    def _let_go(self) -> None:
        self._dismiss()
        self.model = self.loaded = self._spoken = None
        self._uncached()
        gc.collect()  # a runner and its recordings know each other

    async def forget(self) -> None:
        """Lets go of all that the model has of conversations, in memory and in the database."""
        async with self._turn:
            self._forget()

    def forget_soon(self) -> None:
        """The same at once, or when the answer that is being written is there."""
        if self._answering:
            self._stale = True
        else:
            self._forget()

    def _forget(self) -> None:
        self._stale = False
        if self.model is not None:
            self.model.forget()

    async def together(self, prompts: Sequence[Prompt], sampling: Sampling | None = None, **options: Any) -> list[str]:
        """What the model says to each of many prompts, several in one pass; each is a text, or the messages of a conversation. options: as
        of ``Together.answers``. They are not grounded in the memory, and not witnessed. What else is asked waits until all are said, and
        ``unload`` ends them where they are.

        ModelError without a model, and with one in ONNX, which speaks in one conversation after the other. Raises as ``answers``.
        """
        async with self.turn() as model:
            if not isinstance(model, LanguageModel):
                raise ModelError("several are spoken together by a model from a GGUF file: load one first")
            if self._spoken is None:
                self._spoken = Together(model)
            self._writing = self._spoken
            return await self._spoken.answers(prompts, sampling, **options)

    def alone(self) -> asyncio.Lock:
        """While it is held, no answer is written."""
        return self._turn

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Dialogue | None]:
        """The loaded model, for one answer; None where it is gone by now."""
        async with self._turn:
            self._answering = True
            try:
                yield self.model
            finally:
                self._answering, self._writing = False, None
                if self._stale:
                    self._forget()
                self._rest()

    def settle(self) -> None:
        """Lets the model rest, unless it is answering: then it does when it has answered."""
        if not self._turn.locked():
            self._rest()

    def _rest(self) -> None:
        if self.model is not None:
            self.model.rest()

    def began(self, writing: Writing) -> None:
        """Whoever has the turn says what ``unload`` is to stop."""
        self._writing = writing

    def wrote(self, generated: Generated) -> None:
        """Keeps how the last answer was written, to be shown."""
        if self.loaded is not None:
            self.loaded = replace(self.loaded, last=generated)

    async def _opened(self, source: Any, keep: bool, progress: Stage | None) -> tuple[str, str, ByteSource]:
        """(id, name, file) of what is to be loaded."""
        if not isinstance(source, str):
            return str(getattr(source, "name", source)), str(getattr(source, "name", source)), self._host.file(source)
        if source == catalog.BUILT_IN:
            return await self._opened_built_in()
        if "://" in source and not keep:
            return source, source.rpartition("/")[2], await Remote.open(self._host.request, source)
        if "://" in source:
            stored = await self.download(source, progress=progress)
        elif self._host.name == "native" and Path(source).expanduser().is_file():
            return source, Path(source).name, self._host.file(source)
        else:
            stored = await self._stored(source, progress)
        return stored.id, stored.name, await (await self.store()).open(stored.id)

    async def _stored(self, id: str, progress: Stage | None) -> StoredModel:
        """What is kept under that id, or comes by the catalogue."""
        try:
            found = await (await self.store()).get(id)
        except NotFoundError:
            return await self.download(id, progress=progress)
        return found if found.complete or not found.url else await self.download(found.entry or found.url, progress=progress)

    async def _opened_built_in(self) -> tuple[str, str, ByteSource]:
        about = await self.built_in()
        if about is None:
            raise NotFoundError("this installation comes without a built-in model")
        return catalog.BUILT_IN, about.title, Bytes(builtin.data())


def _told(progress: Stage | None, label: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(label, done, total)
