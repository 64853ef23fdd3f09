"""The tokens of a model, what kind each is, and how text is cut at those that have a meaning of their own."""

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from ...errors import ModelError

SPECIAL_NAMES = ("bos", "eos", "eot", "eom", "unknown", "padding", "separator")  # as metadata calls them: tokenizer.ggml.NAME_token_id
ENDS = ("eos", "eot", "eom")
END_TEXTS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>")  # end a turn even where metadata does not say so


class TokenKind(IntEnum):
    """As ``tokenizer.ggml.token_type`` numbers them."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Tokenizer(Protocol):
    vocabulary: "Vocabulary"

    def encode(self, text: str, *, special: bool = False, bounds: bool = False, shield: str = "") -> list[int]:
        """Ids of a text. special: control tokens written out in it are meant, "<|im_end|>" ends a turn; else they are text like any
        other. bounds: with the tokens that the model wants at the beginning and the end. shield: see ``Vocabulary.shielded``.
        """

    def piece(self, id: int) -> bytes:
        """What a token stands for; nothing for a control token."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without control tokens; bytes that are no UTF-8 become U+FFFD."""


class Vocabulary:
    """tokens: their texts, by id; kinds: theirs, (n,); special: ids by name, "bos", "eos" ...

    Raises ModelError where they do not fit each other.
    """

    def __init__(self, tokens: Sequence[str], kinds: Sequence[int] | None = None, special: dict[str, int] | None = None) -> None:
        self.tokens = list(tokens)
        self.kinds = [TokenKind.NORMAL] * len(self.tokens) if kinds is None else [_kind(number) for number in kinds]
        self.special = dict(special or {})
        if not self.tokens or len(self.kinds) != len(self.tokens):
            raise ModelError(f"the model has {len(self.tokens)} tokens and the kinds of {len(self.kinds)}")
        wrong = next(((name, id) for name, id in self.special.items() if not 0 <= id < len(self.tokens)), None)
        if wrong:
            raise ModelError(f"the {wrong[0]} token is {wrong[1]}; the model has {len(self.tokens)} tokens")
        self.ids: dict[str, int] = {}
        for id, token in enumerate(self.tokens):
            self.ids.setdefault(token, id)  # of two alike the first is used
        meant = [id for id, kind in enumerate(self.kinds) if kind in (TokenKind.CONTROL, TokenKind.USER_DEFINED) and self.tokens[id]]
        self._control = _splitter(self.tokens[id] for id in meant)
        self._own = _splitter(self.tokens[id] for id in meant if self.kinds[id] is TokenKind.USER_DEFINED)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end what is generated."""
        named = {self.special[name] for name in ENDS if name in self.special}
        return frozenset(named | {self.ids[text] for text in END_TEXTS if text in self.ids and self.is_control(self.ids[text])})

    def is_control(self, id: int) -> bool:
        return self.kinds[id] in (TokenKind.CONTROL, TokenKind.UNKNOWN, TokenKind.UNUSED)

    def parts(self, text: str, special: bool, shield: str = "") -> list[tuple[str, int | None]]:
        """The text cut at tokens with a meaning of their own: (part, its id, or None for a part to be tokenized).

        User-defined tokens always count, control tokens only where ``special`` says so.
        """
        splitter = self._control if special else self._own
        pieces = [text] if splitter is None else splitter.split(text)
        if shield:
            pieces[::2] = [piece.replace(shield, "") for piece in pieces[::2]]
        return [(part, self.ids[part] if place % 2 else None) for place, part in enumerate(pieces) if part]

    def shielded(self, text: str, shield: str) -> str:
        """The text with a character, which is nowhere in it, inside of each control token that is written out in it.

        What a user wrote can so stand among control tokens that are meant, and be text all the same.
        """
        return text if self._control is None else self._control.sub(lambda found: found[0][0] + shield + found[0][1:], text)

    def bound(self, ids: list[int], begins: bool, ends: bool) -> list[int]:
        """With the tokens that stand before and after a text, where the model has them and wants them."""
        before = [self.special["bos"]] if begins and "bos" in self.special else []
        after = [self.special["eos"]] if ends and "eos" in self.special else []
        return before + ids + after


def _kind(number: int) -> TokenKind:
    try:
        return TokenKind(int(number))
    except ValueError:
        raise ModelError(f"a token is of kind {number}; 0 to {max(TokenKind)} are kinds") from None


def _splitter(texts) -> re.Pattern[str] | None:
    """Cuts at any of the texts, at the longest where several begin together."""
    ordered = sorted(set(texts), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, ordered))})") if ordered else None
