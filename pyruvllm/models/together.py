"""Many texts of one model at once, for those who have them all at hand: one reading of the weights serves several (``scheduler``).

spoken = Together(model)
texts = await spoken.answers(["One:", "Two:"], Sampling(temperature=0))
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from .language import LanguageModel
from .sampling import Sampling
from .scheduler import Stream

Prompt = str | Sequence[Mapping[str, Any]]  # a text, or the messages of a conversation


class Together:
    """It has the model for itself while it answers; ``stop`` ends all within one token, with what they said so far."""

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._scheduler = model, model.scheduler()
        self._pool = model.runner.cache.pool
        self._pool.trimmed = False  # nobody does between two calls
        self._streams: list[Stream] = []
        self._stopped = False

    async def answers(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling | None = None,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        sessions: Sequence[str] | None = None,
        adapter: str | None = None,
    ) -> list[str]:
        """In the order of the prompts. sessions: the conversations they belong to, all different. Raises ConfigError before anything is
        said, PoolFullError where no room could be made for one of them: the others are ended then.
        """
        names: Sequence[str | None] = [None] * len(prompts) if sessions is None else sessions
        if len(names) != len(prompts) or len(set(names) - {None}) != len(sessions or ()):
            raise ConfigError(
                f"{len(prompts)} prompts and {len(names)} sessions, {len(set(names))} different ones; one for each would be right"
            )
        self._model.adapters.identity(adapter)
        ids = [self._ids(prompt) for prompt in prompts]
        long = next((each for each in ids if not 0 < len(each) <= self._model.runner.context), None)
        if long is not None or type(max_tokens) is not int or max_tokens < 1:
            given = f"max_tokens is {max_tokens!r}" if long is None else f"a prompt of {len(long)} tokens"
            raise ConfigError(f"{given}; 1 to {self._model.runner.context} would be right, and nothing was said")
        self._stopped, self._pool.trimmed, texts = False, True, list[str]()
        try:
            for start in range(0, len(ids), self._scheduler.waiting):
                part = range(start, min(start + self._scheduler.waiting, len(ids)))
                how = {"max_tokens": max_tokens, "stop": stop, "adapter": adapter}
                self._streams = [self._scheduler.submit(ids[at], sampling, session=names[at], **how) for at in part]  # type: ignore[arg-type]
                if self._stopped:
                    self.stop()
                texts += await asyncio.gather(*(stream.text() for stream in self._streams))
            return texts
        finally:
            self._streams, self._pool.trimmed = [], False
            await self._scheduler.close()

    def stop(self) -> None:
        self._stopped = True
        for stream in self._streams:
            stream.cancel()

    def _ids(self, prompt: Prompt) -> list[int]:
        return self._model.tokenizer.encode(prompt, bounds=True) if isinstance(prompt, str) else self._model.chat_ids(prompt)
