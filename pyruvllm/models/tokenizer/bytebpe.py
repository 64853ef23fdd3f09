"""Byte-level BPE (GPT-2, Llama 3, LFM2, Qwen): each byte is written as a printable character, words are merged by rank."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from ...errors import ModelError
from .merge import merged
from .pretokenize import splitter
from .vocabulary import TokenKind, Vocabulary

REMEMBERED_WORDS = 20_000


def _alphabet() -> list[str]:
    """The character of each byte: itself where it is printable Latin-1, else one from U+0100 on (GPT-2's table)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


ALPHABET = _alphabet()
BYTES = {character: byte for byte, character in enumerate(ALPHABET)}
IN_UTF8 = [byte for byte in range(256) if byte not in (0xC0, 0xC1) and byte < 0xF5]


class ByteLevelBPE:
    """merges: "left right" in the order of their rank; pre: the name of the pre-tokenizer.

    whole: a word that is a token as it stands is that token, whatever the merges say. composed: a text is brought to Unicode's NFC first.
    Raises ModelError.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        merges: Sequence[str],
        pre: str,
        *,
        whole: bool,
        begins: bool,
        ends: bool = False,
        composed: bool = False,
    ) -> None:
        missing = [byte for byte in IN_UTF8 if ALPHABET[byte] not in vocabulary.ids]
        if missing:
            raise ModelError(f"the vocabulary has no token for the byte {missing[0]:#04x}: it is no byte-level one")
        self.vocabulary = vocabulary
        self._ranks = {_pair(merge): rank for rank, merge in reversed(list(enumerate(merges)))}
        self._split = splitter(pre)
        self._whole, self._begins, self._ends, self._composed = whole, begins, ends, composed
        self._word = lru_cache(REMEMBERED_WORDS)(self._tokenized)

    def encode(self, text: str, *, special: bool = False, bounds: bool = False, shield: str = "") -> list[int]:
        ids: list[int] = []
        for part, id in self.vocabulary.parts(text, special, shield):
            if id is not None:
                ids.append(id)
                continue
            for word in self._split(unicodedata.normalize("NFC", part) if self._composed else part):
                ids.extend(self._word(word))
        return self.vocabulary.bound(ids, self._begins, self._ends) if bounds else ids

    def piece(self, id: int) -> bytes:
        if self.vocabulary.is_control(id):
            return b""
        token = self.vocabulary.tokens[id]
        if self.vocabulary.kinds[id] is TokenKind.USER_DEFINED:
            return token.encode()
        return b"".join(bytes([BYTES[character]]) if character in BYTES else character.encode() for character in token)

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.piece, ids)).decode(errors="replace")

    def _tokenized(self, word: str) -> tuple[int, ...]:
        written = "".join(ALPHABET[byte] for byte in word.encode(errors="replace"))
        if self._whole and written in self.vocabulary.ids:
            return (self.vocabulary.ids[written],)
        found: list[int] = []
        for part in merged(written, lambda left, right: self._ranks.get((left, right))):
            # a merge may make what is no token: then its characters are
            found.extend([self.vocabulary.ids[part]] if part in self.vocabulary.ids else [self.vocabulary.ids[one] for one in part])
        return tuple(found)


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    if not left or not right:
        raise ModelError(f"the merge {merge!r} is no pair of tokens with a space between them")
    return left, right
