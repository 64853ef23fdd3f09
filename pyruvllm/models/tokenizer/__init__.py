"""Tokenizers as model files describe them in their own metadata: byte-level BPE, SentencePiece and WordPiece."""

from .load import load
from .stream import Detokenizer
from .vocabulary import Tokenizer, Vocabulary

__all__ = ["Detokenizer", "Tokenizer", "Vocabulary", "load"]
