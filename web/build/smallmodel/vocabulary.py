"""The tokenizer: byte-level BPE with LFM2's way to cut words, learned from generated examples and the project's own documents.

Digits are never merged, so that any number is spelled the same way wherever it stands.
"""

import json
from functools import cache
from pathlib import Path

from examples import Maker
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pyruvllm.models.prompt import SYSTEM, grounded_question

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ("README.md", "docs/index.md")
SIZE = 3072
SPECIAL = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PAD, BOS, _, START, END = range(5)
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def learn(seed: int, examples: int = 6000) -> Tokenizer:
    maker = Maker(seed)
    texts = [SYSTEM, *((ROOT / name).read_text() for name in TEXTS), "user\nassistant\nsystem\n" * 1000]
    for _ in range(examples):
        made = maker.example(maker.r.randrange(1, 4))
        texts.append(f"{grounded_question(made.question, made.passages)}\n {made.completion}")
        texts.append(" ".join(word.capitalize() for _, text in made.passages for word in text.split()))  # headings, beginnings of sentences
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    cut = [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), *cut])  # one digit at a time
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=SIZE, special_tokens=SPECIAL, initial_alphabet=sorted(alphabet), show_progress=False)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)  # no merge has a digit in it: the same as one at a time
    return tokenizer


def prompt(question: str, passages: tuple[tuple[str, str], ...]) -> str:
    """As the chat template in ``export.py`` writes it, without the token at the beginning."""
    return f"<|im_start|>user\n{grounded_question(question, passages)}<|im_end|>\n<|im_start|>assistant\n"


def merges(tokenizer: Tokenizer) -> list[str]:
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


@cache
def pieces(tokenizer: Tokenizer) -> tuple[str, ...]:
    """What words are made of in it: letters only, as they stand in the middle or, without the space, at the beginning of one."""
    tokens = (tokenizer.decode([id]).strip() for id in range(len(SPECIAL), tokenizer.get_vocab_size()))
    return tuple(sorted({token.lower() for token in tokens if token.isalpha() and token.isascii()}))
