"""An answer that a language model writes from numbered passages: the twin of ``extractive``, in words that are nobody's.

writing = Writing(model, grounding, hits, sampling, max_tokens=400)
async for piece in writing: ...
writing.text, writing.quotes, writing.notes
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ..config import GenerationConfig
from ..embed.sentences import sentences
from ..memory.words import words
from ..types import Hit, RoutingDecision
from .dialogue import Dialogue
from .extractive import Quote
from .generate import Generation
from .grounding import Grounding
from .marks import MARK, MarkReader
from .sampling import Sampling

TEMPERATURE = "general.sampling.temp"  # of GGUF
SUPPORT = 0.3  # of a statement's words, which a sentence of a cited passage shares at least to be shown as what it stands on


class Writing:
    """An async iterator of pieces of text, once. ``stop()`` ends it within a token, as does leaving it.

    adapter: that the conversation is to be answered with; where the model does not have it, it answers without, and a note says so.
    """

    def __init__(
        self,
        model: Dialogue,
        grounding: Grounding,
        hits: Sequence[Hit],
        config: GenerationConfig,
        routing: RoutingDecision,
        room: int,
        session: str | None = None,
        adapter: str | None = None,
    ) -> None:
        self.text = ""
        self.finish: str | None = None
        self._hits, self._grounding = hits, grounding
        self._marks = MarkReader(grounding.passages)
        self._stopped = False
        most = min(config.max_tokens, room - len(grounding.ids))
        how = sampling(config, routing, model.metadata)
        self._missing = adapter if adapter is not None and not model.has_adapter(adapter) else None
        of = {"session": session, "adapter": adapter if self._missing is None else None}
        self.generation: Generation = model.generate(grounding.ids, how, max_tokens=most, stop=config.stop, **of)
        self._cut = most < config.max_tokens

    def stop(self) -> None:
        self._stopped = True

    async def __aiter__(self) -> AsyncIterator[str]:
        stream = self.generation.__aiter__()
        async with aclosing(stream):  # type: ignore[type-var]
            if not self._stopped:
                async for piece in stream:
                    if shown := self._shown(self._marks.add(piece)):
                        yield shown
                    if self._stopped:
                        break
        if shown := self._shown(self._marks.end()):
            yield shown
        finish = self.generation.usage.finish or "cancelled"
        self.finish = "context" if finish == "length" and self._cut else finish

    def _shown(self, text: str) -> str:
        text = text if self.text else text.lstrip()
        self.text += text
        return text

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """For each source that is cited, the sentences of it that share most words with what is said of it."""
        found: dict[tuple[int, int, int], Quote] = {}
        for start, end in sentences(self.text):
            claim = self.text[start:end]
            stated = {term for term, _ in words(MARK.sub("", claim))}
            for number in {int(each) for mark in MARK.finditer(claim) for each in mark[2].split(",")}:
                if quote := _support(stated, number - 1, self._hits[number - 1].text):
                    found[(quote.hit, quote.start, quote.end)] = quote
        return tuple(found.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of how it came about, in words."""
        told = list(self._grounding.left_out)
        if self._missing is not None:
            told.append(f"The adapter {self._missing!r} of this conversation is not loaded: the model answered without it.")
        if self._marks.unknown:
            numbers = ", ".join(f"[{number}]" for number in self._marks.unknown)
            told.append(f"The model named sources that there are not: {numbers}. They were taken out.")
        if self._grounding.passages and not self._marks.cited:
            told.append("The model named no source for this.")
        if self.finish == "length":
            told.append("It was cut off at the most tokens that an answer may have.")
        if self.finish == "context":
            told.append("It was cut off because the model's context was full.")
        if self.finish == "cancelled":
            told.append("It was stopped before it was finished.")
        return tuple(told)


def sampling(config: GenerationConfig, routing: RoutingDecision, metadata: Mapping[str, Any]) -> Sampling:
    """What is asked for, else the temperature that the model's file wants, and for the rest what the router decided."""
    wanted = metadata.get(TEMPERATURE)
    temperature = float(wanted) if isinstance(wanted, int | float) and 0 <= wanted <= 100 else routing.temperature
    return Sampling(
        temperature=temperature if config.temperature is None else config.temperature,
        top_p=(routing.top_p or 1.0) if config.top_p is None else config.top_p,
        top_k=config.top_k,
        min_p=config.min_p,
        repetition_penalty=config.repetition_penalty,
        frequency_penalty=config.frequency_penalty,
        presence_penalty=config.presence_penalty,
        seed=config.seed,
    )


def _support(stated: set[str], hit: int, passage: str) -> Quote | None:
    best, share = None, SUPPORT * len(stated)
    for start, end in sentences(passage):
        shared = len(stated & {term for term, _ in words(passage[start:end])})
        if shared and shared >= share:
            best, share = Quote(hit, start, end), shared + 0.5
    return best
