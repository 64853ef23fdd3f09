"""What a language model says, whatever runs it: after a text, or next in a conversation."""

import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from json import dumps, loads
from typing import Any

from ..cache import Pool
from ..config import Clock
from ..errors import ConfigError, ModelError
from .assistant import Assistant
from .constrain import Constraint, json_schema
from .generate import Generation, generate
from .overflow import OVERFLOWS, fitted
from .sampling import Sampling
from .speaker import Speaker
from .speculative import Drafter, DraftModel, Guesser, PromptLookup, same_tokens, unlike
from .template import ChatTemplate, of_metadata
from .tokenizer import Tokenizer
from .turns import Turns

SMALLER = 0.5  # of a model's bytes: what one that guesses for it has at most
SCHEMAS = 8  # that are kept

_loaded: "weakref.WeakSet[Dialogue]" = weakref.WeakSet()  # that others may find one to guess for them


class Dialogue:
    """Has to be given: runner, tokenizer, metadata (of GGUF's names), name, nbytes, clock; ``_joined`` is called when these are there."""

    runner: Speaker
    tokenizer: Tokenizer
    metadata: Mapping[str, Any]
    name: str
    nbytes: int
    clock: Clock

    def generate(
        self,
        prompt: str | Sequence[int],
        sampling: Sampling | None = None,
        *,
        special: bool = False,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        logprobs: int | None = None,
        schema: Mapping[str, Any] | bool | Constraint | None = None,
        overflow: str = "error",
        speculate: bool = True,
        session: str | None = None,
        adapter: str | None = None,
    ) -> Generation:
        """What the model says after a prompt. special: control tokens written out in it are meant. session: the conversation that it
        belongs to, whose keys and values are kept wherever there is room; without one, what came last goes on.
        adapter: that the model speaks with, of ``LanguageModel.adapters``.

        schema: a JSON schema that the text will be valid for, or a Constraint. overflow: what happens where the text does not fit the
        context, as ``generate.generate`` has it. speculate: tokens are guessed and checked together, by a smaller model with the same
        tokens where one is loaded, and by what the text said before; the text is the same without, and where it does not pay it stops.

        What a prompt has in common with the text before, such as a conversation that goes on, is not read again. One stream at a time is
        at work: a new one begins when those before it are over, or were left lying (models/turns.py), and each says what it would alone.
        Raises ConfigError; of an adapter and of where the conversation is kept, when its turn has come.
        """
        ids = self.tokenizer.encode(prompt, special=special, bounds=True) if isinstance(prompt, str) else list(prompt)
        runner, whole = self.runner, len(ids)
        if whole > runner.context and overflow == "error":
            raise ConfigError(f"a prompt of {whole} tokens does not fit a context of {runner.context}")
        if whole > runner.context and overflow in OVERFLOWS and type(max_tokens) is int:
            ids = fitted(ids, runner.context - min(max_tokens, runner.context // 4))
        if speculate and (draft := self.draft) is not self._helper:
            self._help(draft)
        constraint = schema if isinstance(schema, Constraint) or schema is None else self.constraint(schema)
        free, known = self.turns.free, 0
        if free:
            self.turns.last = None  # whatever comes of it, nobody's place is kept
            known = self._place(ids, session, adapter)
        made = generate(
            runner, self.tokenizer, ids[known:], sampling, before=ids[:known], max_tokens=max_tokens, stop=stop, logprobs=logprobs,
            constraint=constraint, guesser=self._guesser if speculate else None, overflow=overflow, dropped=whole - len(ids),
            clock=self.clock, turns=self.turns, place=lambda wanted: self._place(wanted, session, adapter), start=known,
        )  # fmt: skip
        if free:
            self.turns.last = made
        return made

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        sampling: Sampling | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        max_tokens: int = 1024,
        **options: Any,
    ) -> Generation:
        """What the assistant says next in a conversation, written as the model's template has it; options: as of ``generate``. Control
        tokens in what was said are text. tools: told to the model where its template has a place for them, else refused; what it writes to
        call one is text.

        Raises ConfigError too for a model without a template, HostError without the package jinja2.
        """
        return self.generate(self.chat_ids(messages, tools), sampling, max_tokens=max_tokens, **options)

    def chat_ids(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """The tokens of a conversation up to where the assistant answers. Raises as ``chat``."""
        if self.template is None:
            raise ConfigError(f"the model {self.name!r} has no chat template; generate() takes a text")
        shield, shielded = self._shielded(messages)
        return self.tokenizer.encode(self.template.render(shielded, tools=tools), special=True, shield=shield)

    def constraint(self, schema: Mapping[str, Any] | bool) -> Constraint:
        """That a text is valid JSON for a schema; kept, so that asking again costs nothing. ConfigError for what is not understood."""
        try:
            written = dumps(schema)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the schema is no JSON: {error}") from None
        if written not in self._constraints:
            self._constraints[written] = json_schema(loads(written), self.tokenizer, self.runner.vocabulary)
            while len(self._constraints) > SCHEMAS:
                del self._constraints[next(iter(self._constraints))]
        return self._constraints[written]

    @property
    def draft(self) -> "Dialogue | None":
        """What guesses for this one: the model ``assist`` gave, else the smallest that is loaded, much smaller and with the same tokens."""
        if self._assistant is not None:
            return self._assistant
        smaller = [other for other in _loaded if other is not self and other.nbytes <= SMALLER * self.nbytes]
        fitting = [other for other in smaller if same_tokens(other.tokenizer.vocabulary, self.tokenizer.vocabulary)]
        return min(fitting, key=lambda other: (other.nbytes, other.name), default=None)

    def assist(self, helper: "Dialogue | None") -> None:
        """That model guesses for this one from the next text on, whatever its size; None: whoever is found. ModelError where it has other
        tokens.
        """
        if helper is not None and not same_tokens(helper.tokenizer.vocabulary, self.tokenizer.vocabulary):
            raise ModelError(unlike(helper.name, helper.tokenizer.vocabulary, self.name, self.tokenizer.vocabulary))
        self._assistant = helper

    def close(self) -> None:
        """It guesses for no other model from here on; whoever holds it, holds its weights."""
        _loaded.discard(self)
        for other in _loaded:
            if other._assistant is self:
                other._assistant = None
            if other._helper is self:
                other._help(None)

    @cached_property
    def template(self) -> ChatTemplate | None:
        return of_metadata(self.metadata, self.tokenizer.vocabulary.tokens, self.clock)

    def drafting(self, pool: Pool | None = None) -> Speaker | None:
        """The model at work on a text of its own, to guess for another; None where that cannot be. pool: what it keeps draws on that."""
        return None

    @property
    def shared(self) -> Pool | None:
        """What many conversations draw on; None where there is room for one."""
        return None

    def forget(self) -> None:
        """Lets go of all that it has of what was said. What it is saying ends."""
        self.turns.end()
        self.runner.reset()

    def rest(self) -> None:
        """Between two answers: what can wait until then. Here one text is all that is held, and there is nothing to do."""

    def has_adapter(self, name: str) -> bool:
        """Whether it can speak with an adapter of that name."""
        return False

    def _take_up(self, ids: Sequence[int], session: str | None, adapter: str | None) -> None:
        """Puts the runner where a conversation stands; here all share one. ConfigError for an adapter, of which there are none."""
        if adapter is not None:
            raise ConfigError(f"the model {self.name!r} has no adapters: models from GGUF files have")

    def _place(self, ids: Sequence[int], session: str | None, adapter: str | None) -> int:
        """Puts the runner where it knows the most of these tokens, all but the last at most; how many."""
        self._take_up(ids, session, adapter)
        runner = self.runner
        other = (place for place, (one, given) in enumerate(zip(runner.history, ids, strict=False)) if one != given)
        known = next(other, min(runner.position, max(len(ids) - 1, 0)))
        runner.rewind(known)
        return known

    def _joined(self) -> None:
        self.turns = Turns()
        self._constraints: dict[str, Constraint] = {}
        self._assistant: Dialogue | None = None
        self._speaker: Speaker | None = None  # of the helper, at work for this one
        self._help(None)
        _loaded.add(self)

    def _help(self, helper: "Dialogue | None") -> None:
        speaker = helper and helper.drafting(self.shared)
        if isinstance(self._speaker, Assistant):
            self._speaker.close()
        self._speaker = speaker
        self._helper = helper if speaker else None
        drafters: list[Drafter] = [PromptLookup()]
        if helper and speaker:
            drafters.append(DraftModel(speaker, helper.name))
        self._guesser = Guesser(drafters, self.clock)

    def _shielded(self, messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        """A character of the private use area that nobody used, and the messages with it in their control tokens."""
        written = repr(messages)
        shield = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in written and f"\\u{code:04x}" not in written)

        def told(value: Any) -> Any:
            if isinstance(value, str):
                return self.tokenizer.vocabulary.shielded(value, shield)
            if isinstance(value, Mapping):
                return {key: told(inner) for key, inner in value.items()}
            return [told(inner) for inner in value] if isinstance(value, list | tuple) else value

        return shield, [told(message) for message in messages]
