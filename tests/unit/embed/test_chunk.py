"""Passages: nothing lost, nothing too long, ends where sentences end."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm import host
from pyruvllm.config import ChunkConfig
from pyruvllm.embed.chunk import chunks
from pyruvllm.embed.sentences import sentences
from pyruvllm.embed.tokenizer import Tokenizer
from pyruvllm.errors import ConfigError

pytestmark = pytest.mark.asset


class Measure:
    """An embedder's half that counts: the model's own tokenizer."""

    def __init__(self):
        data = asyncio.run(host.current().asset("models/all-MiniLM-L6-v2/tokenizer.json"))
        self._tokenizer = Tokenizer.from_json(data)
        self.count = self._tokenizer.count

    def spans(self, text):
        return self._tokenizer.encode(text).spans


@pytest.fixture(scope="module")
def measure():
    return Measure()


sentence = st.lists(
    st.sampled_from("the river Winter committee budget 3.5 Mr. Li naïve 東京 unbelievable".split()), min_size=1, max_size=25
).map(lambda words: " ".join(words) + ".")
block = st.one_of(
    st.lists(sentence, min_size=1, max_size=6).map(" ".join),
    st.sampled_from(
        ["# Title", "## Part *two* #", "Underlined\n===", "- item\n- other item", "```\ncode = 1. More\n# no heading\n```", "x" * 150]
    ),
    st.text(max_size=60),
)
documents = st.lists(block, max_size=8).map("\n\n".join)
configs = st.integers(8, 60).flatmap(lambda size: st.builds(ChunkConfig, size=st.just(size), overlap=st.integers(0, size // 2)))


@settings(max_examples=200)
@given(documents, configs)
def test_everything_is_covered_and_nothing_too_long(measure, text, config):
    found = chunks(text, measure, config)
    covered = 0
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end] == chunk.text.strip()
        assert measure.count(chunk.text) <= config.size
        assert chunk.end > covered  # each brings something new
        assert not text[covered : chunk.start].strip()
        covered = chunk.end
    assert not text[covered:].strip()


@settings(max_examples=100)
@given(documents, configs)
def test_overlap_is_whole_sentences_within_its_bound(measure, text, config):
    found = chunks(text, measure, config)
    starts = {start for start, _ in sentences(text)}
    for before, after in zip(found, found[1:], strict=False):
        if after.start < before.end:
            assert before.heading == after.heading
            assert measure.count(text[after.start : before.end]) <= config.overlap
            assert before.start < after.start
            assert after.start in starts or measure.count(text) > config.size


@settings(max_examples=100)
@given(st.lists(sentence, min_size=1, max_size=30).map(" ".join))
def test_ends_at_sentence_ends(measure, text):
    spans = sentences(text)
    if max(measure.count(text[start:end]) for start, end in spans) <= 60:
        for chunk in chunks(text, measure, ChunkConfig(60, 15)):
            assert chunk.start in {start for start, _ in spans} and chunk.end in {end for _, end in spans}


def test_neighbours_share_a_sentence(measure):
    text = " ".join(f"Sentence number {number} is about the river." for number in range(40))
    found = chunks(text, measure, ChunkConfig(60, 15))
    assert len(found) > 5
    for before, after in zip(found, found[1:], strict=False):
        assert measure.count(text[after.start : before.end]) in range(8, 16)


def test_headings_begin_passages_and_are_known(measure):
    text = "Intro.\n\n# One\n## Inner\nBody of inner.\n\nTwo\n---\nBody of two.\n```\n# a comment\n```\n\n### Three ###\n\nEnd."
    assert [(chunk.heading, chunk.text.split("\n")[0], chunk.text.split("\n")[-1]) for chunk in chunks(text, measure)] == [
        ("", "Intro.", "Intro."),
        ("Inner", "# One", "Body of inner."),
        ("Two", "Two", "```"),
        ("Three", "### Three ###", "End."),
    ]


def test_a_paragraph_is_rather_kept_whole(measure):
    one = " ".join(["The river rose."] * 9)  # 36 tokens
    two = " ".join(["Winter came late."] * 9)
    assert [chunk.text for chunk in chunks(f"{one}\n\n{two}", measure, ChunkConfig(60, 0))] == [one, two]


def test_a_heading_does_not_stand_alone_before_a_long_sentence(measure):
    found = chunks("# Title\n" + "river winter " * 100, measure, ChunkConfig(60, 0))
    assert measure.count(found[0].text) == 60


def test_one_long_word_is_cut(measure):
    word = "unbelievable" * 8
    found = chunks(word, measure, ChunkConfig(8, 0))
    assert "".join(chunk.text for chunk in found) == word and len(found) > 1


def test_nothing_to_cut(measure):
    assert chunks("", measure) == chunks(" \n\n\t", measure) == []


@pytest.mark.parametrize("config", [ChunkConfig(7, 0), ChunkConfig(20, 11), ChunkConfig(20, -1)])
def test_sizes_that_cannot_work(measure, config):
    with pytest.raises(ConfigError):
        chunks("text", measure, config)
