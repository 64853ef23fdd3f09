import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruvllm.memory import fulltext
from pyruvllm.memory.fulltext import FullText, encode, parse
from pyruvllm.memory.words import stem, words

ALPHABET = [f"word{letter}" for letter in "abcdefgh"]
TEXTS = st.lists(st.sampled_from(ALPHABET), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("city", "cities"),
        ("plan", "planned"),
        ("move", "moving"),
        ("box", "boxes"),
        ("run", "running"),
        ("bake", "baked"),
        ("study", "studied"),
        ("church", "churches"),
        ("quick", "quickly"),
        ("horse", "horses"),
        ("pass", "passes"),
        ("fall", "falling"),
    ],
)
def test_forms_of_a_word_meet(one, other):
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("sing", "s"), ("bus", "bu"), ("bed", "b"), ("news", "newton"), ("red", "r")])
def test_words_that_only_look_alike_stay_apart(one, other):
    assert stem(one) != stem(other)


def test_words_are_casefolded_and_kept_as_written():
    assert words("The Straße, MELANIE's cats!") == [("strass", "Straße"), ("melani", "MELANIE"), ("cat", "cats")]
    assert words("the who of is") == [] and words("") == [] and words("… — !?") == []


def test_scripts_without_spaces_are_pairs():
    assert [written for _, written in words("東京都 in Japan")] == ["東京", "京都", "Japan"]
    index = FullText()
    index.add([1, 2], [encode("私は東京都に住んでいます", {}), encode("大阪の天気", {})])
    query = parse("東京都")
    assert index.search(query, index.statistics(query)).numbers.tolist() == [1]


def test_only_some_metadata_is_searched():
    assert encode("", {"title": "Harbour", "heading": 5, "tag": "secret"}) == encode("harbour", {})


def test_a_query_longer_than_the_mask_still_scores_all_its_words():
    text = " ".join(f"term{place}x" for place in range(100))
    index = FullText()
    index.add([1, 2], [encode(text, {}), encode("term99x", {})])
    query = parse(text)
    found = index.search(query, index.statistics(query))
    assert found.numbers.tolist() == [1, 2] and found.terms.tolist() == [2**64 - 1, 0]


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=60), st.lists(st.integers(1, 40), max_size=6))
def test_joined_compacted_or_fresh_it_scores_the_same(rows, slices):
    index, alive, number = FullText(), {}, 0
    rows = iter(rows)
    before = fulltext.TAIL
    fulltext.TAIL = 8  # so that tails are joined within a short history
    try:
        for size in [*slices, 60]:
            part = [row for _, row in zip(range(size), rows, strict=False)]
            numbers = range(number + 1, number + 1 + len(part))
            number += len(part)
            index.add(numbers, [encode(text, {}) for text, _ in part])
            alive |= {at: text for at, (text, _) in zip(numbers, part, strict=True)}
            gone = [at for at, (_, stays) in zip(numbers, part, strict=True) if not stays]
            index.remove(gone)
            alive = {at: text for at, text in alive.items() if at not in gone}
    finally:
        fulltext.TAIL = before
    fresh = FullText()
    fresh.add(list(alive), [encode(text, {}) for text in alive.values()])
    query = parse("worda wordb wordc")
    found = [
        dict(zip(matches.numbers.tolist(), matches.scores.tolist(), strict=True))
        for each in (index, fresh)
        for matches in (each.search(query, each.statistics(query)),)
    ]
    assert found[0] == found[1]
    assert found[0].keys() == {at for at, text in alive.items() if {"worda", "wordb", "wordc"} & set(text.split())}
    assert len(index) == len(alive) and set(np.array(list(alive))[index.holds(np.array(list(alive), np.int64))].tolist()) == set(alive)


def test_no_score_exceeds_the_ceiling():
    index = FullText()
    index.add([1, 2, 3], [encode("apple " * 500, {}), encode("apple pear", {}), encode("plum", {})])
    query = parse("apple pear unheard")
    statistics = index.statistics(query)
    assert index.search(query, statistics).scores.max() < statistics.ceiling
