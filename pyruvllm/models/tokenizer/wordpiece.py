"""WordPiece as model files keep it: a token that begins a word has U+2581 before it, one that goes on has nothing."""

from collections.abc import Sequence

from ...embed.tokenizer import Tokenizer as Words
from .sentencepiece import SPACE
from .vocabulary import Vocabulary


class WordPiece:
    """Uncased BERT's. Raises ModelError where the vocabulary is of another kind."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._begins = {id for token, id in vocabulary.ids.items() if token.startswith(SPACE)}
        self._words = Words({_bert(token): id for token, id in vocabulary.ids.items()})

    def encode(self, text: str, *, special: bool = False, bounds: bool = False, shield: str = "") -> list[int]:
        ids: list[int] = []
        for part, id in self.vocabulary.parts(text, special, shield):
            ids.extend(self._words.encode(part).ids if id is None else [id])
        return [self._words.first, *ids, self._words.last] if bounds else ids

    def piece(self, id: int) -> bytes:
        if self.vocabulary.is_control(id):
            return b""
        token = self.vocabulary.tokens[id]
        return f" {token[1:]}".encode() if id in self._begins else token.encode()

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.piece, ids)).decode(errors="replace").removeprefix(" ")


def _bert(token: str) -> str:
    """The token as BERT's own vocabulary has it."""
    if token.startswith(SPACE):
        return token[1:]
    return token if token.startswith("[") and token.endswith("]") else f"##{token}"
