"""The tokenizer against the Tokenizers library of Hugging Face over many scripts."""

import asyncio
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Reference

from pyruvllm import host
from pyruvllm.embed.tokenizer import Tokenizer
from pyruvllm.errors import ModelError

FILE = "models/all-MiniLM-L6-v2/tokenizer.json"
# blocks that both sides' Unicode tables know whole: the reference's are those of Unicode 8
BLOCKS = (
    (0x00, 0x7F),
    (0x80, 0x24F),
    (0x300, 0x36F),
    (0x370, 0x377),
    (0x384, 0x3CE),
    (0x400, 0x482),
    (0x48A, 0x52F),
    (0x5D0, 0x5EA),
    (0x621, 0x652),
    (0x905, 0x94D),
    (0x964, 0x97F),
    (0xE01, 0xE3A),
    (0x1100, 0x11FF),
    (0x1E00, 0x1EFF),
    (0x2000, 0x206F),
    (0x20A0, 0x20B5),
    (0x2190, 0x21FF),
    (0x2600, 0x26FF),
    (0x2E80, 0x2E99),
    (0x3000, 0x302D),  # not the two tone marks after it, which NFD moves: the reference then names their neighbour's place
    (0x3030, 0x303F),
    (0x3041, 0x3096),
    (0x30A0, 0x30FF),
    (0x3131, 0x318E),
    (0x3400, 0x3410),
    (0x4E00, 0x9FD5),
    (0xAC00, 0xD7A3),
    (0xE000, 0xE010),
    (0xF900, 0xFA6D),
    (0xFB00, 0xFB06),
    (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F),
    (0xFF61, 0xFF9F),
    (0xFFFD, 0xFFFD),
    (0x10400, 0x1044F),
    (0x1D400, 0x1D420),
    (0x1F1E6, 0x1F1FF),
    (0x1F3FB, 0x1F3FF),
    (0x1F600, 0x1F64F),
    (0x20000, 0x20010),
    (0x2F800, 0x2FA1D),
    (0xE0001, 0xE0001),
    (0xE0020, 0xE007F),
    (0xE0100, 0xE01EF),
    (0xF0000, 0xF0010),
    (0x10FFF0, 0x10FFFD),
)
characters = st.one_of(*(st.characters(min_codepoint=first, max_codepoint=last) for first, last in BLOCKS))
words = st.sampled_from(
    "the Unbelievable naïve ÉTÉ straße ΣΊΣΥΦΟΣ İstanbul tokenization don't 3.14 [SEP] [CLS] ##ing 東京 한국어 ﬁn".split()
)
texts = st.lists(st.one_of(words, st.text(characters, max_size=6), st.sampled_from([" ", "\n", "  ", "-", "_", "\u00ad", "\u200d"]))).map(
    "".join
)


@pytest.fixture(scope="module")
def data():
    return asyncio.run(host.current().asset(FILE))


@pytest.fixture(scope="module")
def ours(data):
    return Tokenizer.from_json(data)


@pytest.fixture(scope="module")
def reference(data):
    tokenizer = Reference.from_str(data.decode())
    tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
    return tokenizer


@pytest.mark.asset
class TestAgainstReference:
    @settings(max_examples=300)
    @given(texts)
    @example("")
    @example("a" * 100 + " " + "a" * 101)
    @example("x" + "\u0301" * 120)
    @example("\r\n\t\x0b\x0c\x1c\x85\u2028\u3000")
    @example("q\u0323\u0307 İI ß ẞ ǅ")
    def test_same_ids_and_places(self, ours, reference, text):
        expected = reference.encode(text, add_special_tokens=False)
        found = ours.encode(text)
        assert found.ids == expected.ids
        assert found.spans == expected.offsets
        assert ours.count(text) == len(expected.ids)

    def test_same_on_whole_documents(self, ours, reference):
        with open(__file__, encoding="utf-8") as file:
            text = file.read() * 3
        assert ours.encode(text).ids == reference.encode(text, add_special_tokens=False).ids

    def test_special_tokens_are_the_models(self, ours, reference):
        assert [ours.first, ours.last, ours.unknown] == [reference.token_to_id(token) for token in ("[CLS]", "[SEP]", "[UNK]")]


@pytest.mark.asset
def test_spans_point_at_what_was_written(ours):
    text = "Ein CAFÉ, 東京!"
    assert [text[start:end] for start, end in ours.encode(text).spans] == ["Ein", "CAFÉ", ",", "東", "京", "!"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps({"model": {"type": "BPE", "vocab": {}}, "normalizer": {"type": "NFC", "lowercase": True}}).encode(),
        json.dumps(
            {"model": {"type": "WordPiece", "vocab": {"a": 0}}, "normalizer": {"type": "BertNormalizer", "lowercase": True}}
        ).encode(),
        json.dumps({"model": {"type": "WordPiece", "vocab": {}}, "normalizer": {"type": "BertNormalizer", "lowercase": False}}).encode(),
    ],
)
def test_another_kind_of_tokenizer_is_refused(content):
    with pytest.raises(ModelError):
        Tokenizer.from_json(content)
