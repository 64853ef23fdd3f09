"""WordPiece as BERT does it: text is normalised, split into words and punctuation, each word into the longest known pieces.

Reads the ``tokenizer.json`` of an uncased BERT model. Text is only ever text: "[SEP]" typed by a user becomes a bracket, a word and a
bracket, not the model's separator.
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from ..errors import ModelError

LONGEST_WORD = 100  # characters; a longer one is one unknown token
REMEMBERED_WORDS = 20_000

ASCII_WORDS = re.compile(r"[!-/:-@\[-`{-~]|[^\s!-/:-@\[-`{-~]+")
PLAIN = re.compile(r"[\t\n\r -~]*")  # ASCII without control characters: its normal form has the same length
WORDS = re.compile(r"[^ ]+")
# written without spaces between words, so each character is a word of its own
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text without special ones: their ids, and where each begins and ends in the text, in characters."""

    ids: list[int]
    spans: list[tuple[int, int]]


class Tokenizer:
    def __init__(self, vocabulary: dict[str, int]):
        try:
            self.unknown, self.first, self.last = (vocabulary[token] for token in ("[UNK]", "[CLS]", "[SEP]"))
        except KeyError as error:
            raise ModelError(f"the vocabulary has no {error}: not one of an uncased BERT model")
        self._pieces = lru_cache(REMEMBERED_WORDS)(lambda word: pieces(word, vocabulary, self.unknown))

    @classmethod
    def from_json(cls, data: bytes) -> "Tokenizer":
        """From the bytes of a ``tokenizer.json``. ModelError if it describes another kind of tokenizer."""
        try:
            content = json.loads(data)
            model, normalizer = content["model"], content["normalizer"]
            fits = model["type"] == "WordPiece" and normalizer["type"] == "BertNormalizer" and normalizer["lowercase"]
            vocabulary = model["vocab"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"tokenizer.json does not read as a tokenizer: {error!r}") from error
        if not fits:
            raise ModelError(f"tokenizer.json holds {model['type']} with {normalizer['type']}, not WordPiece of an uncased BERT model")
        return cls(vocabulary)

    def encode(self, text: str) -> Tokens:
        """All tokens of ``text``, however many."""
        if PLAIN.fullmatch(text):
            normal, origin, words = text.lower(), None, ASCII_WORDS
        else:
            normal, origin = normalised(text)
            words = WORDS
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for match in words.finditer(normal):
            at = match.start()
            for token, start, end in self._pieces(match[0]):
                ids.append(token)
                if origin is None:
                    spans.append((at + start, at + end))
                else:
                    spans.append((origin[at + start], origin[at + end - 1] + 1))
        return Tokens(ids, spans)

    def count(self, text: str) -> int:
        words = ASCII_WORDS.findall(text.lower()) if PLAIN.fullmatch(text) else normalised(text)[0].split()
        return sum(len(self._pieces(word)) for word in words)


def pieces(word: str, vocabulary: dict[str, int], unknown: int) -> tuple[tuple[int, int, int], ...]:
    """(id, start, end) of the pieces of one word: always the longest known next; the whole word unknown if one is missing."""
    if len(word) > LONGEST_WORD:
        return ((unknown, 0, len(word)),)
    found = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = word[start:end] if start == 0 else "##" + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ((unknown, 0, len(word)),)
        found.append((vocabulary[piece], start, end))
        start = end
    return tuple(found)


def normalised(text: str) -> tuple[str, list[int]]:
    """Lower case, no accents or control characters, words and punctuation apart by single spaces; and where each character is from."""
    parts: list[str] = []
    origin: list[int] = []
    for place, character in enumerate(text):
        normal = normal_form(character)
        if normal:
            parts.append(normal)
            origin.extend([place] * len(normal))
    return "".join(parts), origin


@lru_cache(8192)
def normal_form(character: str) -> str:
    """What one character becomes: itself in lower case, its parts, a space, itself between spaces, or nothing."""
    if character.isspace() and character not in "\x0b\x0c\x1c\x1d\x1e\x1f\x85":  # those are control characters to BERT
        return " "
    if character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    result = ""
    for part in unicodedata.normalize("NFD", character):
        category = unicodedata.category(part)
        if category == "Mn":
            continue
        alone = category[0] == "P" or part in "$+<=>^`|~" or any(first <= ord(part) <= last for first, last in IDEOGRAPHS)
        result += f" {part} " if alone else part.lower()
    return result
