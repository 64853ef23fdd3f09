"""Text from a model, piece by piece.

stream = generate(runner, tokenizer, ids, Sampling(temperature=0.7), max_tokens=200, stop=["\n\n"])
async for piece in stream: ...
stream.usage                         # tokens, seconds, why it ended
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..config import Clock
from ..errors import ConfigError
from .decoder import Runner
from .sampling import Sampler, Sampling
from .tokenizer import Detokenizer, Tokenizer

SLICE_MS = 15.0  # of work between two turns of the event loop


@dataclass(frozen=True)
class Usage:
    """finish: "stop" (the model ended, or a stop string came), "length" (max_tokens), "context" (no more room), "cancelled"."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_ms: float = 0.0
    completion_ms: float = 0.0
    finish: str | None = None

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
    """An async iterator of pieces of text; each can be iterated once. Leaving it early, or cancelling, stops it within one token."""

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str],
        logprobs: int | None,
        before: Sequence[int],
        clock: Clock,
    ) -> None:
        self.usage = Usage(prompt_tokens=len(prompt))
        self.ids: list[int] = []  # generated, without the token that ended it
        self.scores: list[TokenScore] = []
        self._runner, self._tokenizer, self._prompt, self._clock = runner, tokenizer, list(prompt), clock
        self._before = list(before)
        self._sampler, self._max, self._stop, self._logprobs = Sampler(sampling), max_tokens, tuple(stop), logprobs
        self._pieces = self._run()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces

    async def text(self) -> str:
        """All of it."""
        return "".join([piece async for piece in self])

    async def _run(self) -> AsyncIterator[str]:
        now, ends = self._clock.elapsed_ms, self._tokenizer.vocabulary.ends
        detokenizer, held = Detokenizer(self._tokenizer), ""
        begun, finish = now(), "cancelled"
        try:
            logits = await self._taken_in()
            prompted = turned = now()
            self._note(prompt_ms=prompted - begun)
            while True:
                id = self._sampler.choose(logits, self._before + self._prompt + self.ids)
                if id in ends:
                    finish = "stop"
                    break
                self._accept(id, logits)
                self._note(completion_tokens=len(self.ids), completion_ms=now() - prompted)
                held += detokenizer.add(id)
                shown, held, stopped = self._cut(held)
                if shown:
                    yield shown
                if stopped or len(self.ids) == self._max:
                    finish = "stop" if stopped else "length"
                    break
                if self._runner.position == self._runner.context:
                    finish = "context"
                    break
                if now() - turned > SLICE_MS:
                    await asyncio.sleep(0)
                    turned = now()
                logits = self._runner.feed([id])
            if rest := held + detokenizer.end():
                yield rest
        finally:
            self._note(finish=finish)

    async def _taken_in(self) -> np.ndarray:
        """The prompt, a block at a time, so that others have their turns."""
        runner, block = self._runner, self._runner.block
        for start in range(0, len(self._prompt), block):
            logits = runner.feed(self._prompt[start : start + block])
            await asyncio.sleep(0)
        return logits

    def _accept(self, id: int, logits: np.ndarray) -> None:
        self.ids.append(id)
        if self._logprobs is None:
            return
        values = logits.astype(np.float64)
        values -= values.max() + np.log(np.exp(values - values.max()).sum())
        best = np.argsort(-values, kind="stable")[: self._logprobs]
        self.scores.append(TokenScore(id, float(values[id]), tuple((int(one), float(values[one])) for one in best)))

    def _cut(self, held: str) -> tuple[str, str, bool]:
        """(what can be shown, what may yet become a stop string, whether one came)."""
        found = min((at for stop in self._stop if (at := held.find(stop)) >= 0), default=-1)
        if found >= 0:
            return held[:found], "", True
        longest = max((size for stop in self._stop for size in range(1, len(stop)) if held.endswith(stop[:size])), default=0)
        return held[: len(held) - longest], held[len(held) - longest :], False

    def _note(self, **changes: object) -> None:
        self.usage = Usage(**{**self.usage.__dict__, **changes})  # type: ignore[arg-type]


def generate(
    runner: Runner,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    sampling: Sampling | None = None,
    *,
    max_tokens: int = 256,
    stop: Sequence[str] = (),
    logprobs: int | None = None,
    before: Sequence[int] = (),
    clock: Clock | None = None,
) -> Generation:
    """What the model says after a prompt of ids, which goes on where the runner is; before: tokens that were there, for the penalties.

    stop: strings at which it ends; they are not shown. logprobs: how many of the likeliest tokens are kept for each that was chosen; None
    keeps nothing. Raises ConfigError for a prompt that is empty or leaves no room, and for what cannot be.
    """
    if type(max_tokens) is not int or max_tokens < 1:
        raise ConfigError(f"max_tokens is {max_tokens!r}; an integer of at least 1 would be right")
    if isinstance(stop, str) or not all(isinstance(one, str) and one for one in stop):
        raise ConfigError(f"stop is {stop!r}; a list of strings that are not empty would be right")
    if logprobs is not None and (type(logprobs) is not int or not 0 <= logprobs <= runner.vocabulary):
        raise ConfigError(f"logprobs is {logprobs!r}; 0 to {runner.vocabulary}, or None, would be right")
    if not len(prompt):
        raise ConfigError("the prompt has no token")
    if runner.position + len(prompt) > runner.context:
        raise ConfigError(f"a prompt of {len(prompt)} tokens does not fit: {runner.context - runner.position} of {runner.context} are left")
    return Generation(runner, tokenizer, prompt, sampling or Sampling(), max_tokens, stop, logprobs, before, clock or Clock())
