"""Text from a model, piece by piece.

    stream = generate(runner, tokenizer, ids, Sampling(temperature=0.7), max_tokens=200, stop=["\\n\\n"])
    async for piece in stream: ...
    stream.usage                         # tokens, seconds, guesses, why it ended

Read ``_said``: that is generation. A round reads the last token and what was guessed to follow, and goes through what the model says
after each of them, until it says something else than was guessed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from ..config import Clock
from ..errors import ConfigError
from .constrain import Constraint
from .overflow import OVERFLOWS, fitted
from .sampling import Sampler, Sampling
from .speaker import Speaker
from .speculative import Drafts, Guesser
from .tokenizer import Detokenizer, Tokenizer
from .turns import Turns

SLICE_MS = 12.0  # of work between two turns of the event loop


@dataclass(frozen=True)
class Usage:
    """finish: "stop" (the model ended, or a stop string came), "length" (max_tokens), "context" (no more room), "cancelled"."""

    prompt_tokens: int = 0  # all of the text before
    cached_tokens: int = 0  # of these, that were not read again
    completion_tokens: int = 0
    prompt_ms: float = 0.0
    completion_ms: float = 0.0
    finish: str | None = None
    dropped_tokens: int = 0  # of the prompt and, with overflow="shift", of what was said: taken out to make room
    guesses: tuple[Drafts, ...] = ()  # what each drafter guessed, and how it went

    @property
    def tokens_per_second(self) -> float:
        """Of what was generated; 0 before the second token."""
        return (self.completion_tokens - 1) * 1000 / self.completion_ms if self.completion_tokens > 1 and self.completion_ms > 0 else 0.0


@dataclass(frozen=True)
class TokenScore:
    """logprob: natural logarithm of what the model gave the token, before sampling changed anything; top: the likeliest (id, logprob)."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Generation:
    """An async iterator of pieces of text; it can be iterated once. Leaving it early, ``cancel`` or cancelling the task stops it within
    one token.

    Others over the same model wait until it is over; where it is left lying and lost its turn to another (models/turns.py), it reads its
    text again as it goes on, and says the same as if it had been alone.
    """

    def __init__(
        self,
        speaker: Speaker,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int,
        stop: Sequence[str],
        logprobs: int | None,
        before: Sequence[int],
        constraint: Constraint | None,
        guesser: Guesser | None,
        overflow: str,
        dropped: int,
        clock: Clock,
        turns: Turns,
        place: Callable[[Sequence[int]], int] | None,
        room: int,
    ) -> None:
        self.usage = Usage(prompt_tokens=len(before) + len(prompt), cached_tokens=len(before), dropped_tokens=dropped)
        self.ids: list[int] = []  # generated, without the token that ended it
        self.scores: list[TokenScore] = []
        self._speaker, self._tokenizer, self._prompt, self._clock = speaker, tokenizer, list(prompt), clock
        self._text = [*before, *prompt]  # ids of all that was said, of which the first may be forgotten by the model
        self._turns, self._place = turns, place
        self._shown = list(self._text)  # of these what the model is to have read, and the token that it reads next
        self._lost = False  # whether another had the turn since the last piece
        self._sampler, self._max, self._stop, self._logprobs = Sampler(sampling, speaker.kernels), max_tokens, tuple(stop), logprobs
        self._constraint, self._state = constraint, constraint.start if constraint else 0
        self._guesser, self._overflow = guesser or Guesser((), clock), overflow
        self._room = max_tokens if overflow == "shift" else min(max_tokens, room - len(prompt) + 1)
        self._held, self._finish, self._cancelled = "", "", False
        self._short = False  # the room there was decided what could follow
        self._turned = 0.0
        self._pieces = self._run()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces

    async def text(self) -> str:
        """All of it."""
        return "".join([piece async for piece in self])

    def cancel(self) -> None:
        """Ends it at the next slice; the iteration then is over."""
        self._cancelled = True
        self._turns.stopped(self)

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    async def _run(self) -> AsyncIterator[str]:
        now = self._clock.elapsed_ms
        detokenizer = Detokenizer(self._tokenizer)
        try:
            await self._taken()
            begun = self._turned = now()
            if self._lost:
                self._prompt = self._placed(self._text)
                self._note(cached_tokens=len(self._text) - len(self._prompt))
                self._lost = False
            self._guesser.begin()
            logits = await self._speaker.read(self._prompt, self._pace)
            prompted = now()
            self._note(prompt_ms=prompted - begun)
            async with aclosing(self._said(logits)) as said:
                async for id in said:
                    self._note(completion_tokens=len(self.ids), completion_ms=now() - prompted)
                    if shown := self._cut(detokenizer.add(id)):
                        self._turns.pause(self)
                        yield shown
                        await self._taken()
                    if self._finish:
                        break
            self._turns.leave(self)
            if rest := "" if self._finish == "stopped" else self._held + detokenizer.end():
                yield rest
        except _Cancelled:
            pass
        finally:
            self._turns.leave(self)
            finish = {"": "cancelled", "stopped": "stop"}.get(self._finish, self._finish)
            self._note(finish=finish, guesses=self._guesser.told())

    async def _taken(self) -> None:
        """It is its turn again; ``_lost``: another had it."""
        same = await self._turns.take(self)
        if self._cancelled:
            raise _Cancelled
        self._lost = not same and self._place is not None

    def _placed(self, ids: Sequence[int]) -> list[int]:
        """Where the model knows the most of these tokens: those that it has to read."""
        assert self._place is not None
        return list(ids[self._place(ids) :])

    async def _said(self, logits: np.ndarray) -> AsyncIterator[int]:
        """Tokens, one by one. Where it is left, the model has taken in all of them but the last."""
        speaker, drafts, agreed = self._speaker, [], 0
        sure = speaker.position  # tokens that the model has read and that were said
        try:
            while True:
                for place, row in enumerate(logits):
                    id = self._choose(row)
                    sure += place > 0
                    if id is None or not self._accept(id, row):
                        return
                    agreed = place
                    yield id
                    if self._lost:
                        await self._restore()
                        sure, drafts, agreed = speaker.position, [], 0
                        break
                    if place == len(drafts) or drafts[place] != id:
                        break
                speaker.rewind(sure)
                self._guesser.judged(len(drafts), agreed)
                if speaker.position == speaker.context and not await self._shifted():
                    self._finish = "context"
                    return
                logits, drafts = await self._round(id)
                sure = speaker.position - len(drafts)
        finally:
            if self._turns.holds(self) and not self._lost:  # else the model is at another text by now
                self._guesser.judged(agreed, agreed)  # where it ends among guesses
                if speaker.position > sure:
                    speaker.rewind(sure)

    async def _restore(self) -> None:
        """After another had the model: it reads again what this text was before the last token."""
        self._guesser.begin()
        if missing := self._placed(self._shown[:-1]):
            await self._speaker.read(missing, self._pace)
        self._lost = False

    async def _round(self, id: int) -> tuple[np.ndarray, list[int]]:
        """Logits after the last token and after each of those guessed to follow, and these."""
        speaker, now = self._speaker, self._clock.elapsed_ms
        room = min(speaker.context - speaker.position, self._max - len(self.ids)) - 1
        drafts = await self._guesser.guess(self._text, room, self._guessed, self._pace)
        if self._constraint:
            drafts = drafts[: self._constraint.fitting(self._state, drafts)]
        begun, waited = now(), self._guesser.waited
        logits = await speaker.read([id, *drafts], self._pace, every=bool(drafts))
        if drafts:
            logits = logits.copy()  # others may read before the last of these is looked at
        self._guesser.took(1 + len(drafts), now() - begun - (self._guesser.waited - waited))
        return logits, drafts

    def _choose(self, row: np.ndarray) -> int | None:
        """None where nothing can follow."""
        allowed = None
        if self._constraint:
            allowed, short = self._constraint.allowed(self._state, self._room - len(self.ids))
            self._short |= short
            if allowed is None:
                self._finish = "stop"
                return None
        return self._sampler.choose(row, self._text, len(self.ids), allowed)

    def _guessed(self, logits: np.ndarray, guessed: list[int]) -> int | None:
        """What a drafter's logits would make the sampler choose after what it guessed so far, which the constraint counts too."""
        allowed = None
        if self._constraint:
            state = self._constraint.after(self._state, guessed)
            allowed = None if state is None else self._constraint.allowed(state, self._room - len(self.ids) - len(guessed))[0]
            if allowed is None:
                return None
        before = self._text[-self._sampler.sampling.last :] + guessed
        id = self._sampler.choose(logits, before, len(self.ids) + len(guessed), allowed)
        return None if id in self._tokenizer.vocabulary.ends else id

    def _accept(self, id: int, row: np.ndarray) -> bool:
        """Whether it is a token of the text, and not its end."""
        if id in self._tokenizer.vocabulary.ends:
            self._finish = "stop"
            return False
        self.ids.append(id)
        self._text.append(id)
        self._shown.append(id)
        if self._logprobs is not None:
            self.scores.append(score(id, row, self._logprobs))
        if len(self.ids) == self._max:
            self._finish = "length"
        if self._constraint:
            self._state = self._constraint.next(self._state, id)
            if self._constraint.over(self._state):
                self._finish = "length" if self._short else "stop"
        return True

    def _cut(self, piece: str) -> str:
        """What can be shown; kept back is what may yet become a stop string. Where one came, nothing follows."""
        held = self._held + piece
        found = min((at for stop in self._stop if (at := held.find(stop)) >= 0), default=-1)
        if found >= 0:
            self._finish = "stopped"
            return held[:found]
        longest = max((size for stop in self._stop for size in range(1, len(stop)) if held.endswith(stop[:size])), default=0)
        self._held = held[len(held) - longest :]
        return held[: len(held) - longest]

    async def _shifted(self) -> bool:
        """Where the policy is to shift: the model reads its first tokens and the newest half of the rest anew."""
        if self._overflow != "shift":
            return False
        ids = fitted(self._speaker.history, self._speaker.context // 2)
        self._note(dropped_tokens=self.usage.dropped_tokens + len(self._speaker.history) - len(ids))
        self._shown = [*ids, self._shown[-1]]
        self._speaker.reset()
        await self._speaker.read(ids, self._pace)
        return True

    async def _pace(self) -> None:
        """Gives others their turn when it is time."""
        now = self._clock.elapsed_ms()
        if now - self._turned > SLICE_MS:
            await asyncio.sleep(0)
            self._turned = self._clock.elapsed_ms()
            self._guesser.waited += self._turned - now
        if self._cancelled:
            raise _Cancelled

    def _note(self, **changes: object) -> None:
        self.usage = replace(self.usage, **changes)  # type: ignore[arg-type]


class _Cancelled(Exception):
    pass


def score(id: int, logits: np.ndarray, count: int) -> TokenScore:
    """What the model gave a token, and the count likeliest ones."""
    values = logits.astype(np.float64)
    values -= values.max() + np.log(np.exp(values - values.max()).sum())
    best = Sampler._best(values, count) if count else ()
    return TokenScore(id, float(values[id]), tuple((int(one), float(values[one])) for one in best))


def generate(
    speaker: Speaker,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    sampling: Sampling | None = None,
    *,
    max_tokens: int = 256,
    stop: Sequence[str] = (),
    logprobs: int | None = None,
    before: Sequence[int] = (),
    constraint: Constraint | None = None,
    guesser: Guesser | None = None,
    overflow: str = "error",
    dropped: int = 0,
    clock: Clock | None = None,
    turns: Turns | None = None,
    place: Callable[[Sequence[int]], int] | None = None,
    start: int | None = None,
) -> Generation:
    """What the model says after a prompt of ids, which goes on where the speaker is; before: tokens that were there, for the penalties.

    stop: strings at which it ends; they are not shown. logprobs: how many of the likeliest tokens are kept for each that was chosen; None
    keeps nothing. constraint: what the text has to be (models/constrain/). guesser: of what comes next (models/speculative.py); the text
    is the same without. overflow: "error" refuses a prompt without room and ends with "context" where the room does;
    "truncate" leaves out the middle of such a prompt; "shift" also goes on where the room ends, with the first tokens and the newest half
    of the others (models/overflow.py). dropped: tokens that were left out before. turns: of all that speak with the model. place: brings
    the model to where it knows the most of some tokens, all but the last at most, and says how many. start: how many it has read when this
    begins, of those before; None: as many as now. Raises ConfigError for a prompt that is empty or leaves
    no room, and for what cannot be.
    """
    if type(max_tokens) is not int or max_tokens < 1:
        raise ConfigError(f"max_tokens is {max_tokens!r}; an integer of at least 1 would be right")
    if isinstance(stop, str) or not all(isinstance(one, str) and one for one in stop):
        raise ConfigError(f"stop is {stop!r}; a list of strings that are not empty would be right")
    if logprobs is not None and (type(logprobs) is not int or not 0 <= logprobs <= speaker.vocabulary):
        raise ConfigError(f"logprobs is {logprobs!r}; 0 to {speaker.vocabulary}, or None, would be right")
    if overflow not in OVERFLOWS:
        raise ConfigError(f"overflow is {overflow!r}; {', '.join(OVERFLOWS)} would be right")
    if not len(prompt):
        raise ConfigError("the prompt has no token")
    start = speaker.position if start is None else start
    room = speaker.context - start
    if len(prompt) > room:
        if overflow == "error" or start:
            raise ConfigError(f"a prompt of {len(prompt)} tokens does not fit: {room} of {speaker.context} are left")
        short = fitted(prompt, room - min(max_tokens, room // 4))
        prompt, dropped = short, dropped + len(prompt) - len(short)
    if constraint:
        constraint.check(max_tokens)
    return Generation(
        speaker, tokenizer, prompt, sampling or Sampling(), max_tokens=max_tokens, stop=stop, logprobs=logprobs, before=before,
        constraint=constraint, guesser=guesser, overflow=overflow, dropped=dropped, clock=clock or Clock(), turns=turns or Turns(),
        place=place, room=room,
    )  # fmt: skip
