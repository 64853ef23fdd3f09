"""Text from tokens as they come: a character whose bytes are spread over several tokens is given when it is whole."""

import codecs

from .vocabulary import Tokenizer


class Detokenizer:
    """add(id) gives what can be shown by now; ``end`` gives what is left, where U+FFFD stands for what never became a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, id: int) -> str:
        return self._decoder.decode(self._tokenizer.piece(id))

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)
