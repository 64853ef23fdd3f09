"""Tokenizers against Hugging Face's ``tokenizers`` and Google's ``sentencepiece``, over texts of many scripts."""

import io
import json
import re
import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Reference

from pyruvllm.errors import ModelError
from pyruvllm.models.tokenizer import Detokenizer, Vocabulary, load
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from pyruvllm.models.tokenizer.merge import merged
from pyruvllm.models.tokenizer.pretokenize import NUMERALS, splitter

CORPUS = (
    """The engine of the Annika ran hot twice, it's the impeller's fault; we'll fix it by 2029-01-31 (12345678).
Größe und Maß: Straße, übermäßig, äöü. Ça va très bien, n'est-ce pas? ¿Dónde está el niño? Привет, как дела? Все хорошо.
日本語のテキストです。東京都に住んでいます。中文文本也在这里。 한국어 문장입니다. العربية لغة جميلة. עברית שפה יפה. हिन्दी में एक वाक्य।
def function(argument, *, option=None):\n    return argument + 1  # comment\n\n\tif x != y: print("yes")
🙂🎉 emoji, ½ and ² and Ⅷ, x₁ + x₂ = 10³; e\u0301 combining; tabs\tand  double  spaces   end. \r\nnew line\r\n
"""
    * 3
)
SHORT = r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])"
MODERN = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
REFERENCES = {"lfm2": [MODERN], "qwen2": [MODERN.replace("{1,3}", "")], "gpt-2": [GPT2], "smollm": [r"\p{N}", GPT2]}

# Characters whose class the two agree on, whatever Unicode version each knows; and none that Python and Rust lower-case differently.
SCRIPTS = st.one_of(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Z", "M", "Cc"), max_codepoint=0x2FFF), max_size=60),
    st.text(st.sampled_from(" \n\r\t'sStTllRre019٣½²Ⅷ_-.,!aZéßΩя日本語한ع\u0301🙂\u3000\xa0\x1c\x85"), max_size=60),
    st.lists(st.sampled_from(CORPUS.split(" ")), max_size=12).map(" ".join),
)
KNOWN = SCRIPTS.filter(lambda text: all(unicodedata.category(one) != "Cn" for one in text))


def byte_level(pre, special=()):
    """A trained reference, and ours from what a model file would say of it."""
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in REFERENCES[pre]]
    reference = Reference(models.BPE(ignore_merges=pre == "lfm2"))
    reference.pre_tokenizer = pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    reference.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(special), show_progress=False
    )
    reference.train_from_iterator([CORPUS], trainer)
    model = json.loads(reference.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]]
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.token_type": np.array([3 if token in special else 1 for token in tokens], np.int32),
    }
    return reference, metadata


BYTE_LEVEL = {pre: byte_level(pre, ("<|startoftext|>", "<|im_start|>", "<|im_end|>")) for pre in REFERENCES}


class TestByteLevel:
    @pytest.mark.parametrize("pre", REFERENCES)
    @settings(max_examples=250, deadline=None)
    @given(text=KNOWN)
    @example(text=CORPUS)
    @example(text="a" * 3000 + " " * 500 + "\n" * 300)
    @example(text="  \u00a0 \u3000x  y\x1cz \x85 w")
    def test_the_same_ids_and_back(self, pre, text):
        reference, metadata = BYTE_LEVEL[pre]
        tokenizer = load(metadata)
        ids = tokenizer.encode(text)
        assert ids == reference.encode(text).ids
        assert tokenizer.decode(ids) == text

    def test_control_tokens_count_where_they_are_meant(self):
        reference, metadata = BYTE_LEVEL["lfm2"]
        tokenizer = load({**metadata, "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 2})
        text = "<|im_start|>user\nHi <|im_end|>"
        assert tokenizer.encode(text, special=True) == reference.encode(text).ids
        assert not {1, 2} & set(tokenizer.encode(text)) and tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.encode("Hi", bounds=True) == [0, *tokenizer.encode("Hi")]
        assert tokenizer.decode(tokenizer.encode(text, special=True)) == "user\nHi "
        assert tokenizer.vocabulary.ends == {2}

    def test_user_defined_tokens_always_count(self):
        reference, metadata = BYTE_LEVEL["lfm2"]
        kinds = metadata["tokenizer.ggml.token_type"].copy()
        kinds[1] = 4
        tokenizer = load({**metadata, "tokenizer.ggml.token_type": kinds})
        assert 1 in tokenizer.encode("a<|im_start|>b") and tokenizer.decode([1]) == "<|im_start|>"

    def test_a_stream_never_breaks_a_character(self):
        tokenizer = load(BYTE_LEVEL["lfm2"][1])
        text = "Größe 🙂 日本語 हिन्दी 🎉"
        stream, shown = Detokenizer(tokenizer), []
        for id in tokenizer.encode(text):
            shown.append(stream.add(id))
        assert "\ufffd" not in "".join(shown) and "".join(shown) + stream.end() == text
        half = Detokenizer(tokenizer)
        assert half.add(tokenizer.vocabulary.ids[ALPHABET[0xF0]]) == "" and half.end() == "\ufffd"

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"tokenizer.ggml.model": "rwkv"}, "'rwkv'"),
            ({"tokenizer.ggml.pre": "falcon"}, "'falcon'"),
            ({"tokenizer.ggml.merges": ["ab"]}, "'ab'"),
            ({"tokenizer.ggml.merges": None}, "merges is missing"),
            ({"tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.token_type": None}, "0x00"),
            ({"tokenizer.ggml.tokens": [1]}, "tokens is a list"),
            ({"tokenizer.ggml.token_type": np.array([1])}, "kinds of 1"),
            ({"tokenizer.ggml.eos_token_id": 10**6}, "eos token is 1000000"),
            ({"tokenizer.ggml.eos_token_id": "x"}, "eos_token_id is 'x'"),
        ],
    )
    def test_what_is_wrong_is_named(self, change, says):
        with pytest.raises(ModelError, match=says):
            load({**BYTE_LEVEL["lfm2"][1], **change})

    def test_numerals_are_what_unicode_says(self):
        numeral = re.compile(f"[{NUMERALS}]")
        known = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
        assert all((unicodedata.category(one) in ("Nl", "No")) == bool(numeral.match(one)) for one in known)

    @given(KNOWN)
    def test_words_together_are_the_text(self, text):
        assert all("".join(splitter(pre)(text)) == text for pre in REFERENCES)


def trained():
    """A SentencePiece model with bytes, and its vocabulary as a model file would have it."""
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines()), model_writer=file, model_type="bpe", vocab_size=700, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98, minloglevel=2,
    )  # fmt: skip
    reference = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
    every = range(reference.vocab_size())
    kinds = [6 if reference.is_byte(i) else 3 if reference.is_control(i) else 2 if reference.is_unknown(i) else 1 for i in every]
    return reference, {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [reference.id_to_piece(i) for i in every],
        "tokenizer.ggml.scores": np.array([reference.get_score(i) for i in every], np.float32),
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


SENTENCEPIECE = trained()


class TestSentencePiece:
    @settings(max_examples=250, deadline=None)
    @given(text=SCRIPTS.filter(lambda text: "\u2581" not in text and "\0" not in text))
    @example(text=CORPUS)
    def test_the_same_ids_and_back(self, text):
        reference, metadata = SENTENCEPIECE
        tokenizer = load(metadata)
        ids = tokenizer.encode(text)
        assert ids == reference.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(text, bounds=True) == [1, *ids]

    def test_without_bytes_the_unknown_token_stands(self):
        vocabulary = ["<unk>", "\u2581", "a", "b", "\u2581a"]
        metadata = {
            **{"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": vocabulary, "tokenizer.ggml.unknown_token_id": 0},
            **{
                "tokenizer.ggml.scores": np.array([0, -1, -2, -3, -0.5], np.float32),
                "tokenizer.ggml.token_type": np.array([2, 1, 1, 1, 1]),
            },
        }
        assert load(metadata).encode("axyb a") == [4, 0, 3, 4]
        del metadata["tokenizer.ggml.unknown_token_id"]
        with pytest.raises(ModelError, match="neither"):
            load(metadata)
        with pytest.raises(ModelError, match="scores is missing"):
            load({**metadata, "tokenizer.ggml.scores": None})


class TestWordPiece:
    def test_the_same_ids(self):
        words = [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            "the",
            "engine",
            "run",
            "##s",
            "hot",
            ",",
            "##ning",
            "größe",
            "日",
            "本",
            "2",
            "##0",
            "##29",
        ]
        reference = Reference(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
        reference.normalizer, reference.pre_tokenizer = normalizers.BertNormalizer(strip_accents=False), pre_tokenizers.BertPreTokenizer()
        kept = [word if word.startswith("[") else word[2:] if word.startswith("##") else "\u2581" + word for word in words]
        tokenizer = load({"tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": kept})
        text = "The engine, the Engine runs running hot 2029 日本 unknown"
        assert tokenizer.encode(text) == reference.encode(text).ids
        assert tokenizer.encode("hot", bounds=True) == [2, 8, 3]
        assert tokenizer.decode(tokenizer.encode("the engine runs")) == "the engine runs"


@given(
    st.text("abc", max_size=40), st.permutations([left + " " + right for left in ("a", "b", "ab", "c", "aa") for right in ("a", "b", "c")])
)
def test_merging_is_what_the_definition_says(text, merges):
    ranks = {tuple(merge.split(" ")): place for place, merge in enumerate(merges)}
    parts = list(text)
    while pairs := [(ranks[pair], at) for at, pair in enumerate(zip(parts, parts[1:], strict=False)) if pair in ranks]:
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    assert merged(text, lambda left, right: ranks.get((left, right))) == parts


def test_the_first_of_two_equal_tokens_counts():
    assert Vocabulary(["a", "a"]).ids == {"a": 0}
