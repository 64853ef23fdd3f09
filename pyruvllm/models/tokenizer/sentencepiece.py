"""SentencePiece's BPE (Llama 2, Gemma): characters are merged to the piece with the best score, spaces are written as U+2581.

Kudo and Richardson, SentencePiece, EMNLP 2018. What is no piece is written in bytes, <0x00> to <0xFF>, where the vocabulary has them.
"""

import re
from collections.abc import Sequence

from ...errors import ModelError
from .merge import merged
from .vocabulary import TokenKind, Vocabulary

SPACE = "\u2581"
BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class SentencePiece:
    """scores: of the tokens, (n,), higher is merged first; prefix: whether a text begins with a space. Raises ModelError."""

    def __init__(self, vocabulary: Vocabulary, scores: Sequence[float], *, prefix: bool, begins: bool, ends: bool = False) -> None:
        if len(scores) != len(vocabulary):
            raise ModelError(f"the model has {len(vocabulary)} tokens and scores of {len(scores)}")
        self.vocabulary = vocabulary
        self._prefix, self._begins, self._ends = prefix, begins, ends
        pieces = (TokenKind.NORMAL, TokenKind.UNDEFINED, TokenKind.USER_DEFINED)
        self._scores = {token: float(scores[id]) for token, id in vocabulary.ids.items() if vocabulary.kinds[id] in pieces}
        self._bytes = {int(found[1], 16): id for token, id in vocabulary.ids.items() if (found := BYTE.fullmatch(token))}
        self._unknown = vocabulary.special.get("unknown")
        if len(self._bytes) < 256 and self._unknown is None:
            raise ModelError("the vocabulary has neither a token for each byte nor one for what is unknown")

    def encode(self, text: str, *, special: bool = False, bounds: bool = False, shield: str = "") -> list[int]:
        ids: list[int] = []
        for place, (part, id) in enumerate(self.vocabulary.parts(text, special, shield)):
            if id is not None:
                ids.append(id)
            else:
                ids.extend(self._tokenized((" " + part if self._prefix and place == 0 else part).replace(" ", SPACE)))
        return self.vocabulary.bound(ids, self._begins, self._ends) if bounds else ids

    def piece(self, id: int) -> bytes:
        token = self.vocabulary.tokens[id]
        if self.vocabulary.kinds[id] is TokenKind.BYTE and (found := BYTE.fullmatch(token)):
            return bytes([int(found[1], 16)])
        return b"" if self.vocabulary.is_control(id) else token.replace(SPACE, " ").encode()

    def decode(self, ids: Sequence[int]) -> str:
        text = b"".join(map(self.piece, ids)).decode(errors="replace")
        return text[1:] if self._prefix and text.startswith(" ") else text

    def _tokenized(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in merged(text, self._rank):
            if part in self._scores:
                ids.append(self.vocabulary.ids[part])
            elif len(self._bytes) == 256:
                ids.extend(self._bytes[byte] for byte in part.encode(errors="replace"))
            elif not ids or ids[-1] != self._unknown:  # one for a run of what is unknown
                ids.append(self._unknown)  # type: ignore[arg-type]
        return ids

    def _rank(self, left: str, right: str) -> float | None:
        score = self._scores.get(left + right)
        return None if score is None else -score
