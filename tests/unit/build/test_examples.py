"""What the small model learns from: every answer can be copied from the passage that it names, and what the test asks is never taught."""

import pytest
from encoding import encoded
from examples import DONE, DONE_HELD_OUT, Maker
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabulary import END, learn
from words import HELD_OUT, SYLLABLES

from pyruvllm.models.prompt import NOTHING

seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def tokenizer():
    return learn(seed=1, examples=100)


def said(seed: int, passages: int, held_out: bool = False):
    return Maker(seed, held_out).conversation(passages, 6, facts=5, refuse=0.2)


class TestExamples:
    @settings(max_examples=60, deadline=None)
    @given(seeds, st.integers(1, 5), st.booleans())
    def test_an_answer_stands_in_the_passage_that_it_names(self, seed, passages, held_out):
        for example in said(seed, passages, held_out):
            assert example.question.strip() and "{" not in f"{example.question}{example.passages}"
            if example.number:
                heading, text = example.passages[example.number - 1]
                assert example.answer in f"{heading}: {text}"
            else:
                assert example.completion == NOTHING

    def test_a_seed_makes_the_same_examples(self):
        assert said(5, 3) == said(5, 3) != said(6, 3)

    def test_verbs_and_syllables_of_the_test_are_never_taught(self):
        assert not set(HELD_OUT) & set(SYLLABLES)
        taught = {word.strip(".,?").lower() for seed in range(300) for e in said(seed, 3) for word in e.question.split()}
        tested = {word.strip(".,?").lower() for seed in range(300) for e in said(seed, 3, held_out=True) for word in e.question.split()}
        events = DONE_HELD_OUT - {"repaired", "tested"}  # words of other facts too
        forms = {form for verb in DONE if verb[0] in events for form in verb}
        assert forms & tested and not forms & taught


class TestEncoded:
    @settings(max_examples=30, deadline=None)
    @given(seed=seeds, passages=st.integers(1, 5))
    def test_tokens_of_an_answer_point_to_their_copies(self, tokenizer, seed, passages):
        asked = said(seed, passages)
        text = encoded(tokenizer, asked)
        ids = [id for id, *_ in text]
        pointing = [(id, sources) for id, _, sources in text if sources]
        assert all(ids[source] == id for id, sources in pointing for source in sources)
        numbers = [sources for _, sources in pointing if tokenizer.decode([ids[sources[0] - 1]]).endswith("[")]
        assert [[tokenizer.decode([ids[at]]) for at in sources] for sources in numbers] == [[str(e.number)] for e in asked if e.number]
        copies = sum(len(tokenizer.encode(f" {e.answer}").ids) for e in asked if e.number)
        assert len(pointing) == copies + len(numbers)
        assert ids.count(END) == 2 * len(asked)  # of what is asked, and of what is said
