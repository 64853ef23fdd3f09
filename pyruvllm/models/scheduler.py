"""Many conversations over one model: their prompts are read in turn, a block at a time, and their tokens made together.

    scheduler = Scheduler(runner, tokenizer, caches)
    first = scheduler.submit(ids, Sampling(seed=1), session="a")
    second = scheduler.submit(other_ids)
    async for piece in first: ...

Continuous batching (Orca, Yu et al. 2022): whoever is ready takes part in the next step, and leaves when it is done. Turns go round, so
that none waits for more than one turn of each other. A stream whose reader is slow waits for it, and so does who submits too many.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import numpy as np

from ..cache import Layout, SessionCaches
from ..cache import Sequence as Cached
from ..config import Clock
from ..errors import CacheError, ConfigError, PersistError, RuvLLMError
from .batch import Batch
from .decoder import Runner
from .generate import Usage
from .sampling import Sampler, Sampling
from .tokenizer import Detokenizer, Tokenizer

TOGETHER = 8  # sequences in one step at most
WAITING = 256  # streams that are submitted and not over, beyond which submitting is refused
AHEAD = 64  # tokens that a stream is ahead of its reader at most

log = logging.getLogger("pyruvllm")


class BusyError(CacheError):
    """Too many streams: try again when some are over."""


class Stream:
    """An async iterator of pieces of text; ``cancel`` ends it before its next token. ids: generated so far; usage: how it went.

    Raises, when iterated, what stopped it: PoolFullError where no room could be made for it.
    """

    def __init__(self, scheduler: "Scheduler", prompt: Sequence[int], sampling: Sampling, session: str | None, options: "_Options") -> None:
        self.ids: list[int] = []
        self.usage = Usage(prompt_tokens=len(prompt))
        self.session = session
        self._scheduler, self._options = scheduler, options
        self._prompt = list(prompt)
        self._sampler, self._text = Sampler(sampling, scheduler.runner.kernels), Detokenizer(scheduler.tokenizer)
        self._sequence: Cached | None = None
        self._next: int | None = None  # chosen, and not fed yet
        self._held = ""  # what may become a stop string
        self._pieces: deque[str] = deque()
        self._error: BaseException | None = None
        self._over = False
        self._leaving: tuple[str, BaseException | None] | None = None  # how it ends after the turn that it is in
        self._more = asyncio.Event()
        self._begun = scheduler.clock.elapsed_ms()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._iterate()

    async def text(self) -> str:
        """All of it."""
        return "".join([piece async for piece in self])

    def cancel(self) -> None:
        if not self._over:
            self._scheduler._end(self, "cancelled")

    async def _iterate(self) -> AsyncIterator[str]:
        try:
            while True:
                while self._pieces:
                    yield self._pieces.popleft()
                    self._scheduler._wake()
                if self._over:
                    break
                self._more.clear()
                await self._more.wait()
            if self._error is not None:
                raise self._error
        finally:
            self.cancel()

    @property
    def _waits(self) -> bool:
        """For its reader."""
        return len(self._pieces) >= AHEAD

    @property
    def _tokens(self) -> list[int]:
        """All that its cache has to hold before the next token can be chosen."""
        return self._prompt + (self.ids if self._next is None else self.ids[:-1])

    def _show(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
        self._more.set()


class _Options:
    def __init__(self, max_tokens: int, stop: tuple[str, ...], priority: float | None, adapter: str | None) -> None:
        self.max_tokens, self.stop, self.priority, self.adapter = max_tokens, stop, priority, adapter


class Scheduler:
    """caches: of the conversations that are named; without it, and for those without a name, a cache lasts as long as its stream.

    together: sequences in one step. It works while there is something to do, as a task of the running event loop.
    """

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer,
        caches: SessionCaches | None = None,
        *,
        together: int = TOGETHER,
        waiting: int = WAITING,
        clock: Clock | None = None,
    ) -> None:
        self.runner, self.tokenizer, self.caches, self.clock = runner, tokenizer, caches, clock or Clock()
        self.together, self.waiting = together, waiting
        runner.cache.pool.trimmed = True
        self.steps = 0
        self._streams: deque[Stream] = deque()  # whose turn is next comes first
        self._batches: dict[tuple[Layout, bool, bytes], Batch] = {}
        self._working: set[Stream] = set()  # whose turn it is
        self._task: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()

    @property
    def active(self) -> int:
        return len(self._streams)

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling | None = None,
        *,
        session: str | None = None,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        priority: float | None = None,
        adapter: str | None = None,
    ) -> Stream:
        """What the model says after a prompt of ids: with a session, of the whole conversation, of which only what is new is read.

        Raises BusyError, and ConfigError for a prompt that is empty or does not fit, and for a session that is being answered.
        """
        if self.active >= self.waiting:
            raise BusyError(f"{self.active} streams are waiting, which is the bound; try again when some are over")
        if not len(prompt) or len(prompt) > self.runner.context:
            raise ConfigError(f"a prompt of {len(prompt)} tokens; 1 to {self.runner.context} would be right")
        wrong = next((id for id in prompt if not 0 <= id < self.runner.vocabulary), None)
        if wrong is not None or type(max_tokens) is not int or max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens!r}" if wrong is None else f"{wrong!r} is no token")
        if session is not None and any(stream.session == session for stream in self._streams):
            raise ConfigError(f"the session {session!r} is being answered; wait for that or cancel it")
        stream = Stream(self, prompt, sampling or Sampling(), session, _Options(max_tokens, tuple(stop), priority, adapter))
        self._streams.append(stream)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._wake()
        return stream

    async def close(self) -> None:
        """Ends all streams."""
        for stream in list(self._streams):
            stream.cancel()
        if self._task is not None:
            self._wake()
            await self._task

    async def _run(self) -> None:
        try:
            while self._streams:
                await self._round()
        except Exception as error:  # a fault of ours: who reads would wait for what nobody makes any more
            for stream in list(self._streams):
                self._end(stream, "error", error)
            raise

    async def _round(self) -> None:
        """A block of a prompt and a token of those that speak, or waiting for a reader."""
        ready = [stream for stream in self._streams if not stream._waits]
        if not ready:
            self._awake.clear()
            await self._awake.wait()
            return
        reading = next((stream for stream in ready if stream._next is None), None)
        if reading is not None:
            await self._attempt([reading], self._read)
            await asyncio.sleep(0)
        speaking = [stream for stream in ready if stream._next is not None and not stream._over]
        if speaking:
            await self._attempt(self._together(speaking), self._speak)
        await asyncio.sleep(0)
        self._trim()

    def _trim(self) -> None:
        """Room is made between the turns, so that no token waits for it."""
        try:
            self.runner.cache.pool.trim()
        except PersistError as error:
            log.warning("%s", error)  # whoever needs the room will be told

    async def _attempt(self, streams: list[Stream], work: Callable[[list[Stream]], Awaitable[None]]) -> None:
        """One turn of these. What goes wrong with one of them ends that one alone; who is cancelled meanwhile ends after it."""
        for stream in streams:
            self._streams.remove(stream)
            self._streams.append(stream)
        while self.runner.busy:  # somebody reads without us
            await asyncio.sleep(0)
        usable = []
        for stream in streams:
            try:
                if not stream._over:
                    self._alive(stream)
                    usable.append(stream)
            except Exception as error:  # noqa: BLE001  whoever reads it is told
                self._end(stream, "error", error)
        self._working = set(usable)
        fault: Exception | None = None
        try:
            if usable:
                await work(usable)
        except Exception as error:  # noqa: BLE001
            fault = error
        finally:
            self._working = set()
            for stream in usable:
                if stream._leaving is not None:
                    self._end(stream, *stream._leaving)
        if fault is not None and len(usable) == 1:
            self._end(usable[0], "error", fault)
        elif fault is not None:  # which of them has no room shows when each goes alone
            for stream in usable:
                if not stream._over:
                    await self._attempt([stream], work)

    def _alive(self, stream: Stream) -> None:
        """Its sequence with as much of its text as is known, and pinned; what is missing is read in ``_read``."""
        cache, tokens = self.runner.cache, stream._tokens
        if stream._sequence is None or stream._sequence.released:
            priority, adapter = stream._options.priority, stream._options.adapter
            if self.caches is not None and stream.session is not None:
                identity = self.runner.adapters.identity(adapter)
                sequence = self.caches.open(stream.session, tokens, priority=priority, identity=identity).sequence
            else:
                sequence = self.runner.begin(tokens, priority=0.5 if priority is None else priority, adapter=adapter)
            stream._sequence = sequence
            same = next((at for at, (a, b) in enumerate(zip(sequence.tokens, tokens, strict=False)) if a != b), None)
            same = min(len(sequence), len(tokens)) if same is None else same
            keep = same if stream._next is not None else min(same, len(tokens) - 1)
            if keep < len(sequence):
                cache.truncate(sequence, keep)
        cache.pool.pin(stream._sequence.holding)

    async def _read(self, streams: list[Stream]) -> None:
        """A block of what one stream's cache lacks; after the last its first token is chosen."""
        (stream,) = streams
        sequence, tokens = stream._sequence, stream._tokens
        assert sequence is not None
        logits = await self._fed(sequence, tokens[len(sequence) : len(sequence) + self.runner.block])
        if len(sequence) == len(tokens) and stream._leaving is None:
            stream.usage = replace(stream.usage, prompt_ms=self.clock.elapsed_ms() - stream._begun)
            self._choose(stream, logits[0])

    async def _fed(self, sequence: Cached, ids: Sequence[int]) -> np.ndarray:
        return await self.runner.read(ids, self._pace, sequence=sequence)

    @staticmethod
    async def _pace() -> None:
        await asyncio.sleep(0)

    def _together(self, speaking: list[Stream]) -> list[Stream]:
        """Those that take part in the next step: whose turn it is, and who is kept in the same way."""
        kinds = [self._kind(stream) for stream in speaking]
        return [stream for stream, kind in zip(speaking, kinds, strict=True) if kind == kinds[0]][: self.together]

    def _kind(self, stream: Stream) -> tuple[Layout, bool, bytes] | None:
        sequence = stream._sequence
        return None if sequence is None or sequence.released else (sequence.layout, sequence.setting.rotate, sequence.identity)

    async def _speak(self, streams: list[Stream]) -> None:
        """One token of each."""
        for stream in streams:
            if stream._sequence is not None and len(stream._sequence) < len(stream._tokens):  # it was evicted: read again first
                await self._fed(stream._sequence, stream._tokens[len(stream._sequence) :])
        sequences = [stream._sequence for stream in streams if stream._sequence is not None]
        ids = [stream._next for stream in streams if stream._next is not None]
        if len(streams) == 1:
            logits = await self._fed(sequences[0], ids)
        else:
            logits = await self._batch(sequences[0]).stepped(sequences, ids)
        self.steps += 1
        for stream, row in zip(streams, logits, strict=True):
            if stream._leaving is None:
                self._choose(stream, row)

    def _batch(self, sequence: Cached) -> Batch:
        key, adapter = (sequence.layout, sequence.setting.rotate, sequence.identity), self.runner.adapters.of(sequence.identity)
        if key not in self._batches or self._batches[key].adapter is not adapter:
            self._batches[key] = Batch(self.runner, self.together, *key[:2], adapter)
        return self._batches[key]

    def _choose(self, stream: Stream, logits: np.ndarray) -> None:
        options, id = stream._options, stream._sampler.choose(logits, stream._prompt + stream.ids)
        if id in self.tokenizer.vocabulary.ends:
            self._end(stream, "stop")
            return
        stream.ids.append(id)
        stream._next = id
        done = self.clock.elapsed_ms() - stream._begun - stream.usage.prompt_ms
        stream.usage = replace(stream.usage, completion_tokens=len(stream.ids), completion_ms=done)
        if self._shown(stream, stream._text.add(id)):
            self._end(stream, "stop")
        elif len(stream.ids) >= options.max_tokens:
            self._end(stream, "length")
        elif stream._sequence is not None and len(stream._sequence) >= self.runner.context:
            self._end(stream, "context")

    def _shown(self, stream: Stream, piece: str) -> bool:
        """Shows what can be; whether a stop string came."""
        held, stops = stream._held + piece, stream._options.stop
        found = min((at for stop in stops if (at := held.find(stop)) >= 0), default=-1)
        if found >= 0:
            stream._held = ""
            stream._show(held[:found])
            return True
        keep = max((size for stop in stops for size in range(1, len(stop)) if held.endswith(stop[:size])), default=0)
        stream._held = held[len(held) - keep :]
        stream._show(held[: len(held) - keep])
        return False

    def _end(self, stream: Stream, finish: str, error: BaseException | None = None) -> None:
        if stream._over:
            return
        if stream in self._working and finish == "cancelled":
            stream._leaving = finish, error
            return
        stream._over, stream._error = True, error
        stream.usage = replace(stream.usage, finish=finish)
        if finish in ("stop", "length", "context"):
            stream._show(stream._held + stream._text.end())
        self._streams.remove(stream)
        stream._more.set()
        self._wake()
        sequence = stream._sequence
        if sequence is not None and not sequence.released:
            self.runner.cache.pool.unpin(sequence.holding)
            if self.caches is None or stream.session is None:
                self.runner.cache.release(sequence, keep=True)
            else:
                self._note(stream.session)

    def _note(self, session: str) -> None:
        """That its conversation is kept here: what was said does not depend on it."""
        assert self.caches is not None
        try:
            self.caches.note(session)
        except RuvLLMError as error:
            log.warning("where the conversation %r is kept was not written down: %s", session, error)

    def _wake(self) -> None:
        self._awake.set()
