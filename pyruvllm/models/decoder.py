"""A decoder at work on one sequence: recorded once, replayed for every token.

    runner = Runner(shape, parts, registry, context=2048)
    logits = runner.feed(ids)        # (vocabulary,) float32, of what comes after the last one
    logits = runner.feed([token])
    logits = await runner.read([token, *guesses], pace, every=True)  # (tokens, vocabulary): what comes after each
    runner.rewind(position)          # the guesses that were wrong are taken back
    runner.use(runner.begin(ids))    # another sequence, with what is known of its first tokens

Recordings (models/recording.py) are of one token, of a block of them, and (models/guess.py) of some tokens whose logits are all wanted.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cache import PAGE, Form, KvCache, Layout, Pool, Setting
from ..cache import Sequence as Cached
from ..cache.region import rounded
from ..errors import ConfigError
from ..kernels.registry import KernelRegistry
from .adapter import Adapters
from .parts import Parts
from .recording import Recording
from .shape import Shape
from .speaker import GUESSED, Pace

if TYPE_CHECKING:
    from .guess import Guess

BLOCK = 32  # tokens of a prompt that are worked on together
KEPT = 12  # positions whose state is kept, so that going back there costs nothing


class Runner:
    """context: tokens that it has room for. ConfigError where that is more than the model was trained for.

    cache: that it shares with others of the same form; without one it has its own, with room for one sequence.
    """

    def __init__(
        self, shape: Shape, parts: Parts, kernels: KernelRegistry, context: int, block: int = BLOCK, *, cache: KvCache | None = None
    ) -> None:
        if not 0 < context <= shape.context:
            raise ConfigError(f"context is {context}; the model was trained for 1 to {shape.context} tokens")
        self.shape, self.parts, self.kernels, self.context = shape, parts, kernels, context
        self.cache = cache or own_cache(shape, kernels, context)  # MemoryError where it does not fit
        self.sequence = self.cache.open()
        self.block = min(block, context)  # tokens of a prompt that are worked on together
        self._rooms: dict[Any, np.ndarray] = {}  # to work in, of all recordings of one size
        self._recordings: dict[tuple[int, Layout, bool, bytes], Recording] = {}
        self._kept: dict[int, Sequence[np.ndarray]] = {}  # by position: the convolutions' columns there
        self._guesses: dict[tuple[Layout, bool, bytes], Guess] = {}
        self._kept_of: Cached | None = None
        self.turn = asyncio.Lock()  # who holds it is in the middle of a replay
        self.adapters = Adapters(parts, self.cache.pool, self.cache.identity, self._forget)
        for size in {1, self.block}:
            self._recording(size, self.sequence)

    @property
    def history(self) -> list[int]:
        """Tokens so far."""
        return self.sequence.tokens

    @property
    def position(self) -> int:
        return len(self.sequence)

    @property
    def busy(self) -> bool:
        """Whether somebody is in the middle of reading."""
        return self.turn.locked()

    @property
    def vocabulary(self) -> int:
        return self.parts.output.rows

    def feed(self, ids: Sequence[int], sliced: Callable[[], None] | None = None) -> np.ndarray:
        """Takes further tokens in; logits (vocabulary,) after the last, overwritten by the next call.

        sliced: called now and then; what it raises stops it, with the blocks so far taken in. Raises ConfigError for no token, one that
        is not in the vocabulary, more than there is room for, and while ``read`` is at work: then nothing was taken in.
        """
        if self.busy:
            raise ConfigError("the model is in the middle of reading another text; feed it when that is read")
        for _ in self._steps(ids, False):
            if sliced is not None:
                sliced()
        return self.logits[0]

    async def read(self, ids: Sequence[int], pace: Pace, every: bool = False, sequence: Cached | None = None) -> np.ndarray:
        """As ``feed``; pace is awaited now and then, and what it raises leaves the blocks so far taken in. (1, vocabulary).

        every: logits (tokens, vocabulary) after each of at most GUESSED tokens (models/speaker.py). sequence: another than the one in use.
        """
        async with self.turn:
            with closing(self._steps(ids, every, sequence)) as steps:
                for _ in steps:
                    await pace()
            return self.logits[: len(ids) if every else 1]

    def _steps(self, ids: Sequence[int], every: bool, sequence: Cached | None = None) -> Iterator[None]:
        """Reads in slices; leaving it in the middle of a block leaves that block out."""
        sequence = self.sequence if sequence is None else sequence
        wrong = next((id for id in ids if not 0 <= id < self.parts.matrices["token_embd"].rows), None)
        if not len(ids) or wrong is not None:
            raise ConfigError(f"{wrong if wrong is not None else 'nothing'} is no token; 0 to {self.vocabulary - 1} are")
        if len(sequence) + len(ids) > self.context:
            raise ConfigError(f"{len(sequence) + len(ids)} tokens do not fit a context of {self.context}; {len(sequence)} are in it")
        if every and len(ids) > GUESSED:
            raise ConfigError(f"the logits of {len(ids)} tokens are asked for; up to {GUESSED} are given")
        self.restate(sequence)
        if every and len(ids) > 1:
            recording: Recording = self._guess(sequence)
            self._keep(sequence)
            yield from recording.run(sequence, ids, last=True)
            self._kept |= {len(sequence) - back: self._guess(sequence).columns(len(ids) - back) for back in range(1, len(ids))}
        start = 0 if not every or len(ids) == 1 else len(ids)
        while start < len(ids):
            recording = self._recording(self.block if len(ids) - start > 1 else 1, sequence)
            part = ids[start : start + recording.block]
            start += len(part)
            self._keep(sequence)
            yield from recording.run(sequence, part, last=start == len(ids))
        self.logits = recording.logits

    def _keep(self, sequence: Cached) -> None:
        """The state where it stands, for the newest KEPT positions; what was kept of guesses before is overwritten by the next ones."""
        if self._kept_of is not sequence:
            self._kept, self._kept_of = {}, sequence
        self._kept = {at: kept for at, kept in self._kept.items() if isinstance(kept, np.ndarray) and at < len(sequence)}
        if sequence.state.size and sequence.state_at == len(sequence):
            self._kept[len(sequence)] = sequence.state.copy()
            if len(self._kept) > KEPT:
                del self._kept[min(self._kept)]

    def prepare(self, adapter: str | None = None) -> None:
        """Makes all recordings for it now; else the first use of each does. Turning to an adapter then costs no more than a look-up."""
        sequence = self.begin(adapter=adapter) if adapter is not None else self.sequence
        try:
            for size in {1, self.block}:
                self._recording(size, sequence)
            self._guess(sequence)
        finally:
            if adapter is not None:
                self.cache.release(sequence)

    def prepared(self, identity: bytes) -> bool:
        """Whether recordings of both sizes are there, for a model or an adapter."""
        return {self.block, 1} <= {key[0] for key in self._recordings if key[-1] == identity}

    def _guess(self, sequence: Cached) -> "Guess":
        from .guess import Guess

        adapter = self.adapters.of(sequence.identity)
        key = sequence.layout, sequence.setting.rotate, sequence.identity
        if key not in self._guesses:
            self._guesses[key] = Guess(self, min(GUESSED, self.context), *key[:2], adapter)
        return self._guesses[key]

    def begin(
        self,
        ids: Sequence[int] = (),
        setting: Setting | None = None,
        *,
        name: str = "",
        priority: float = 0.5,
        adapter: str | None = None,
    ) -> Cached:
        """A sequence with what the cache knows of the beginning of these tokens: ``use`` it and feed the rest, which is never nothing.

        adapter: that it speaks with, of ``adapters``. NotFoundError.
        """
        return self.cache.open(ids, setting, name=name, priority=priority, identity=self.adapters.identity(adapter))

    def use(self, sequence: Cached) -> None:
        """Goes on with this one; the one before stays as it is."""
        self.sequence = sequence

    def truncate(self, length: int) -> None:
        """Takes tokens back until so many are left. ConfigError."""
        self.cache.truncate(self.sequence, length)

    def rewind(self, position: int) -> None:
        """As ``truncate``; to where it was lately, and back from guesses, without working anything out again."""
        sequence = self.sequence
        if position == len(sequence):
            return
        self.cache.truncate(sequence, position)
        columns = self._kept.get(position) if self._kept_of is sequence else None
        if position and columns is not None:
            for state, kept in zip(sequence.state, columns, strict=True):
                state[...] = kept
            sequence.state_at = position

    def reset(self) -> None:
        """To the beginning."""
        self.cache.truncate(self.sequence, 0)

    def restate(self, sequence: Cached) -> None:
        """Finds the convolutions' state of a sequence that was cut or begun from known pages: as many tokens as their filters reach back
        through all layers are read again, without keys and values being written.
        """
        if sequence.state_at == len(sequence) or not sequence.state.size:
            return
        sequence.state[...] = 0
        layers, columns, _ = sequence.state.shape
        start, end = max(len(sequence) - layers * columns, 0), len(sequence)
        while start < end:
            recording = self._recording(self.block, sequence)
            part = sequence.tokens[start : min(start + recording.block, end)]
            recording.again(sequence, part, start)
            start += len(part)
        sequence.state_at = end

    def _recording(self, block: int, sequence: Cached) -> Recording:
        adapter = self.adapters.of(sequence.identity)
        key = block, sequence.layout, sequence.setting.rotate, sequence.identity
        if key not in self._recordings:
            self._recordings[key] = Recording(self, *key[:3], adapter)
        return self._recordings[key]

    def _forget(self, identity: bytes) -> None:
        """An adapter left memory: what was recorded with it cannot be replayed."""
        self._recordings = {key: each for key, each in self._recordings.items() if key[-1] != identity}
        self._guesses = {key: each for key, each in self._guesses.items() if key[-1] != identity}


def form_of(shape: Shape) -> Form:
    """What a cache of this model's keys, values and states is made of."""
    convolutions = sum(heads == 0 for heads in shape.kv_heads)
    return Form(shape.kv_heads, shape.head_dim, (convolutions, shape.kernel - 1, shape.hidden) if convolutions else (0, 0, 0))


def own_cache(shape: Shape, kernels: KernelRegistry, context: int) -> KvCache:
    """A cache with room for one sequence of that many tokens, in any setting."""
    form = form_of(shape)
    pages, page = -(-context // PAGE) + 9, rounded(Layout.of(form, "f16").size)  # some are there twice while they are converted
    return KvCache(form, Pool(pages * page + rounded(4 * int(np.prod(form.states)) or 1), kernels.empty), kernels)
