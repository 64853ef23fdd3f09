"""Tokenizers as Hub repositories describe them, against Hugging Face's ``tokenizers`` reading the same file."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from pyruvllm.errors import ModelError
from pyruvllm.models.hub import metadata_of
from pyruvllm.models.tokenizer import load
from tests.unit.models.test_tokenizers import CORPUS, SEQUENCES

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
SMOLLM2 = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES])
TEXTS = (
    "It ran 12345 times in 2029, ½ of them hot.",
    "e\u0301te\u0301, A\u030angstro\u0308m, \u212b",
    "x1y22  333\n",
    CORPUS,
    " ".join(SEQUENCES),
    "".join(SEQUENCES),
)


def described(pre, normalizer=None):
    reference = Tokenizer(models.BPE())
    reference.pre_tokenizer, reference.decoder = pre, decoders.ByteLevel()
    if normalizer is not None:
        reference.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False)
    reference.train_from_iterator([CORPUS], trainer)
    return reference


def read(reference):
    return metadata_of({"config.json": b"{}", "tokenizer.json": reference.to_str().encode()}, "x")


@pytest.mark.parametrize(
    ("pre", "normalizer", "told"),
    [
        (SMOLLM2, None, ("smollm", None)),
        (BYTES, None, ("gpt-2", None)),
        (BYTES, normalizers.NFC(), ("gpt-2", "nfc")),
        (SMOLLM2, normalizers.Sequence([normalizers.NFC()]), ("smollm", "nfc")),
    ],
)
def test_the_same_ids(pre, normalizer, told):
    reference = described(pre, normalizer)
    metadata = read(reference)
    assert (metadata["tokenizer.ggml.pre"], metadata.get("tokenizer.ggml.normalizer")) == told
    own = load(metadata)
    for text in TEXTS:
        assert own.encode(text) == reference.encode(text, add_special_tokens=False).ids, text


@pytest.mark.parametrize(
    ("pre", "normalizer", "says"),
    [
        (BYTES, normalizers.Lowercase(), "normalizer of tokenizer.json is Lowercase"),
        (BYTES, normalizers.Sequence([normalizers.NFC(), normalizers.StripAccents()]), "is NFC, StripAccents"),
        (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), BYTES]), None, "without individual_digits"),
        (pre_tokenizers.ByteLevel(add_prefix_space=True), None, "add_prefix_space"),
    ],
)
def test_what_is_not_done_to_a_text_is_refused(pre, normalizer, says):
    with pytest.raises(ModelError, match=says):
        read(described(pre, normalizer))


def test_metadata_with_another_normalizer_is_refused():
    metadata = read(described(BYTES))
    with pytest.raises(ModelError, match="normalizer is 'nfkc'"):
        load({**metadata, "tokenizer.ggml.normalizer": "nfkc"})
