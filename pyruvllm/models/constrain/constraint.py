"""What generated text has to be, token by token: which may come, so that it can always be brought to its end in the room there is."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...errors import ConfigError
from ..tokenizer import Tokenizer
from ..tokenizer.bytebpe import IN_UTF8
from .automaton import DEAD, Automaton, TokenTree
from .expression import Grammar, Node
from .pattern import pattern
from .schema import compiled

REMEMBERED = 96  # states whose tokens are kept


class Constraint:
    """vocabulary: how many logits there are. It may serve many texts: what it found out about states stays.

    Raises ConfigError for a tokenizer without a token for each of the bytes that JSON is written with.
    """

    def __init__(self, grammar: Grammar, start: Node, tokenizer: Tokenizer, vocabulary: int) -> None:
        self._automaton, self._tree = Automaton(grammar, start), tree_of(tokenizer)
        self._ends = sorted(id for id in tokenizer.vocabulary.ends if id < vocabulary)
        self._size = vocabulary
        self._kept: OrderedDict[int, tuple[np.ndarray, int]] = OrderedDict()  # by state: tokens that may come, bytes they need at most
        self.start = self._automaton.start

    def check(self, room: int) -> None:
        """ConfigError where not even the shortest text fits so many tokens."""
        least = int(self._automaton.least[self.start])
        if least > room:
            raise ConfigError(f"max_tokens is {room}; the shortest text that is right may take {least}")

    def allowed(self, state: int, room: int) -> tuple[np.ndarray | None, bool]:
        """Tokens that may come, bool (vocabulary,), None where the text is over; and whether more could come if there were more room.

        room: tokens that may still come, this one among them. A byte takes a token at most, so what can be ended with as many bytes as
        tokens are left can be ended.
        """
        if self._automaton.over(state):
            return None, False
        if state not in self._kept:
            reached = self._tree.reached(self._automaton, state)
            self._kept[state] = self._mask(state, reached, reached != DEAD), int(self._automaton.least[reached].max())
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(state)
        mask, needed = self._kept[state]
        if needed < room:
            return mask, False
        reached = self._tree.reached(self._automaton, state)
        return self._mask(state, reached, (reached != DEAD) & (self._automaton.least[reached] < room)), True

    def next(self, state: int, id: int) -> int:
        return self._automaton.after(state, self._tree.pieces[id])

    def after(self, state: int, ids: Sequence[int]) -> int | None:
        """The state after further tokens; None where they cannot come."""
        for id in ids:
            state = self.next(state, id)
        return state if state != DEAD else None

    def fitting(self, state: int, ids: Sequence[int]) -> int:
        """How many of these can come, one after the other."""
        for count, id in enumerate(ids):
            state = self.next(state, id)
            if state == DEAD:
                return count
        return len(ids)

    def over(self, state: int) -> bool:
        """Whether nothing can follow."""
        return self._automaton.over(state)

    def _mask(self, state: int, reached: np.ndarray, fits: np.ndarray) -> np.ndarray:
        mask = np.zeros(self._size, bool)
        mask[: len(fits)] = fits[: self._size]
        mask[self._ends] = self._automaton.ends(state)
        return mask


def json_schema(schema: Mapping[str, Any] | bool, tokenizer: Tokenizer, vocabulary: int) -> Constraint:
    """That the text is JSON which a schema (models/constrain/schema.py) is valid for. ConfigError for what is not understood of it."""
    return Constraint(*compiled(schema, ascii=_ascii(tokenizer)), tokenizer, vocabulary)


def matching(text: str, tokenizer: Tokenizer, vocabulary: int) -> Constraint:
    """That the text is a JSON string's inside in which a regular expression is found, as ``pattern`` has it. ConfigError."""
    grammar = Grammar()
    return Constraint(grammar, pattern(grammar, text, _ascii(tokenizer)), tokenizer, vocabulary)


@lru_cache(4)
def tree_of(tokenizer: Tokenizer) -> TokenTree:
    vocabulary = tokenizer.vocabulary
    pieces = [tokenizer.piece(id) for id in range(len(vocabulary))]
    for id in vocabulary.ends:
        pieces[id] = b""
    return TokenTree(pieces)


def _ascii(tokenizer: Tokenizer) -> bool:
    """Whether there are no tokens for some bytes beyond ASCII."""
    single = {piece[0] for piece in tree_of(tokenizer).pieces if len(piece) == 1}
    missing = sorted({*range(0x20, 0x7F), 0x0A} - single)
    if missing:
        raise ConfigError(f"the tokenizer has no token for the byte {missing[0]:#04x} alone: text cannot be held to a form with it")
    return not single.issuperset(IN_UTF8)
