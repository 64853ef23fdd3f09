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
from pyruvllm.models.tokenizer.pretokenize import LETTERS, NUMERALS, N, S, splitter

CORPUS = (
    """The engine of the Annika ran hot twice, it's the impeller's fault; we'll fix it by 2029-01-31 (12345678).
Größe und Maß: Straße, übermäßig, äöü. Ça va très bien, n'est-ce pas? ¿Dónde está el niño? Привет, как дела? Все хорошо.
日本語のテキストです。東京都に住んでいます。中文文本也在这里。 한국어 문장입니다. العربية لغة جميلة. עברית שפה יפה. हिन्दी में एक वाक्य।
def function(argument, *, option=None):\n    return argument + 1  # comment\n\n\tif x != y: print("yes")
🙂🎉 emoji, ½ and ² and Ⅷ, x₁ + x₂ = 10³; e\u0301 combining; tabs\tand  double  spaces   end. \r\nnew line\r\n
"""
    * 3
)
SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
MODERN = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
REFERENCES = {"lfm2": [MODERN], "qwen2": [MODERN.replace("{1,3}", "")], "gpt-2": [GPT2], "smollm": [r"\p{N}", GPT2]}

# Joined and varied emoji, flags, marks on letters and on nothing, jamo, tags, private use, and signs that only control.
SEQUENCES = (
    *(
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
        "\u2764\ufe0f\u200d\U0001f525",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "5\ufe0f\u20e3",
    ),
    *("\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "\u8fbb\U000e0100", "\u2603\ufe0e"),
    *(
        "\u1112\u1161\u11ab",
        "\ud55c\uae00",
        "\u304b\u3099",
        "\uff76\uff9e",
        "\u30b3\u30fc",
        "e\u0301\u0323\u0302",
        "\u0301",
        "\u0915\u094d\u0937\u093f",
    ),
    *("\U00010428\U00010400", "\U0001d51e\U0001d7d8", "\U00020000\U0002f80c", "\U00031350", "\U000323af9", "\U0001ccf0\U00010d40"),
    *(
        "\ue000\uf8ff",
        "\U000f0000\U0010fffd",
        "\ufdd0\uffff\U0010ffff",
        "\0",
        "\x07\x1b[0m",
        "\x7f",
        "\x9f",
        "\u200b\u200e\u202e\u2069\ufeff",
        "\xad",
    ),
)
SCRIPTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=60),  # every plane, assigned or not
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Z", "M", "Cc"), max_codepoint=0x2FFF), max_size=60),
    st.text(st.sampled_from(" \n\r\t'sStTllRre019٣½²Ⅷ_-.,!aZéßΩя日本語한ع\u0301🙂\u3000\xa0\x1c\x85\u017f"), max_size=60),
    st.lists(st.sampled_from((*SEQUENCES, *" \n'a1.")), max_size=20).map("".join),
    st.lists(st.sampled_from(CORPUS.split(" ")), max_size=12).map(" ".join),
)
EVERY = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)


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
    reference.encode_special_tokens = True  # a control token written out in a text is text
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
    @settings(max_examples=120, deadline=None)
    @given(text=SCRIPTS)
    @example(text=CORPUS)
    @example(text="a" * 3000 + " " * 500 + "\n" * 300)
    @example(text="  \u00a0 \u3000x  y\x1cz \x85 w")
    @example(text="<|im_start|>user\n<|im_end|>")
    @example(text="it'\u017ftop IT'\u017f we'LL")
    @example(text=" ".join(SEQUENCES) + "".join(SEQUENCES))
    def test_the_same_ids_and_back(self, pre, text):
        reference, metadata = BYTE_LEVEL[pre]
        tokenizer = load(metadata)
        ids = tokenizer.encode(text)
        assert ids == reference.encode(text).ids
        assert tokenizer.decode(ids) == text
        words = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in REFERENCES[pre]])
        assert splitter(pre)(text) == [word for word, _ in words.pre_tokenize_str(text)]

    @pytest.mark.parametrize(("own", "pattern"), [(LETTERS, r"\p{L}+"), (f"{N}+", r"\p{N}+"), (f"{S}+", r"\s+")], ids="LNS")
    def test_every_character_is_of_the_same_class(self, own, pattern):
        theirs = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(EVERY)
        assert re.findall(own, EVERY) == [run for run, _ in theirs]

    def test_control_tokens_count_where_they_are_meant(self):
        reference, metadata = BYTE_LEVEL["lfm2"]
        tokenizer = load({**metadata, "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 2})
        text = "<|im_start|>user\nHi <|im_end|>"
        assert tokenizer.encode(text) == reference.encode(text).ids
        meant = Reference.from_str(reference.to_str())
        assert tokenizer.encode(text, special=True) == meant.encode(text).ids
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

    @given(SCRIPTS)
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
    @settings(max_examples=120, deadline=None)
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
