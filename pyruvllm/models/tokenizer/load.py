"""The tokenizer that the metadata of a GGUF file describes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import ModelError
from .bytebpe import ByteLevelBPE
from .sentencepiece import SentencePiece
from .vocabulary import SPECIAL_NAMES, Tokenizer, Vocabulary
from .wordpiece import WordPiece

WHOLE = ("lfm2", "llama3", "llama-bpe", "llama-v3")  # pre-tokenizers of models that look a whole word up before they merge
BEGINS = ("lfm2", "llama3", "llama-bpe", "llama-v3")  # of models whose texts begin with bos unless the file says otherwise
KEY = "tokenizer.ggml."


def load(metadata: Mapping[str, Any]) -> Tokenizer:
    """Raises ModelError, naming the key, where it is missing, of another type, or of a tokenizer that is not known."""
    model = _given(metadata, "model", str)
    vocabulary = Vocabulary(_given(metadata, "tokens", list), _numbers(metadata, "token_type"), _special(metadata))
    begins, ends = metadata.get(KEY + "add_bos_token"), bool(metadata.get(KEY + "add_eos_token", False))
    if model == "gpt2":
        pre = _given(metadata, "pre", str) if KEY + "pre" in metadata else "default"
        first = pre in BEGINS if begins is None else bool(begins)
        normal = metadata.get(KEY + "normalizer")
        if normal is not None and not (isinstance(normal, str) and normal == "nfc"):
            raise ModelError(f"{KEY}normalizer is {normal!r}; nfc is done, or none")
        merges = _given(metadata, "merges", list)
        return ByteLevelBPE(vocabulary, merges, pre, whole=pre in WHOLE, begins=first, ends=ends, composed=normal == "nfc")
    if model == "llama":
        scores = _numbers(metadata, "scores")
        if scores is None:
            raise ModelError(f"{KEY}scores is missing: a SentencePiece model has a score for each token")
        prefix = bool(metadata.get(KEY + "add_space_prefix", True))
        return SentencePiece(vocabulary, scores, prefix=prefix, begins=begins is None or bool(begins), ends=ends)
    if model == "bert":
        return WordPiece(vocabulary)
    raise ModelError(f"{KEY}model is {model!r}; gpt2 (byte-level BPE), llama (SentencePiece) and bert (WordPiece) are read")


def _given(metadata: Mapping[str, Any], name: str, kind: type) -> Any:
    value = metadata.get(KEY + name)
    if kind is list and isinstance(value, np.ndarray) and not value.size:  # an empty array may have any type
        return []
    if not isinstance(value, kind) or (kind is list and not all(isinstance(one, str) for one in value)):
        raise ModelError(f"{KEY}{name} is {'missing' if value is None else f'a {type(value).__name__}'}; a {kind.__name__} would be right")
    return value


def _numbers(metadata: Mapping[str, Any], name: str) -> list | None:
    value = metadata.get(KEY + name)
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        raise ModelError(f"{KEY}{name} is a {type(value).__name__}; an array of numbers would be right")
    return value.tolist()


def _special(metadata: Mapping[str, Any]) -> dict[str, int]:
    found = {}
    for name in SPECIAL_NAMES:
        value = metadata.get(f"{KEY}{name}_token_id")
        if value is not None and type(value) is not int:
            raise ModelError(f"{KEY}{name}_token_id is {value!r}; the number of a token would be right")
        if value is not None and value >= 0:
            found[name] = value
    return found
