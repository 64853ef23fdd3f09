"""Guessing: the text with guesses is the text without them, whoever guesses; and it stops where it does not pay.

Bound by a fixture ``speakers``: tests/contracts/speaker.py.
"""

import asyncio

import numpy as np
import pytest

from pyruvllm.config import Clock
from pyruvllm.models.generate import generate
from pyruvllm.models.sampling import Sampler, Sampling
from pyruvllm.models.speculative import LONGEST, REST, DraftModel, Guesser, PromptLookup, same_tokens
from tests.contracts.speaker import PROMPT, TOKENIZER, read


class Oracle:
    """Guesses what is known to come, but for every n-th token."""

    name = "oracle"

    def __init__(self, prompt, answer, wrong=0):
        self.known, self.wrong, self.asked = [*prompt, *answer], wrong, []

    def begin(self):
        pass

    def behind(self, ids):
        return 0

    async def draft(self, ids, count, choose, pace):
        self.asked.append(count)
        found = self.known[len(ids) : len(ids) + count]
        return [(id + 1) % 256 if self.wrong and place % self.wrong == self.wrong - 1 else id for place, id in enumerate(found)]


class Steps(Clock):
    """Each reading of the clock is a step on, so that times are the same everywhere."""

    def __init__(self):
        self.now = 0.0

    def elapsed_ms(self):
        self.now += 0.5
        return self.now


def guesser(*drafters, dear=0.0, clock=None):
    """As if each token more cost so much of the first."""
    made = Guesser(drafters, clock or Steps())
    for tokens in range(1, 10):
        for _ in range(3):
            made.took(tokens, 10.0 + dear * 10.0 * (tokens - 1))
    return made


class Still(Clock):
    """As a browser's, whose clock takes longer to move than a small model to read."""

    def elapsed_ms(self):
        return 7.0


async def said(runner, sampling, guesser=None, prompt=PROMPT, count=48, **options):
    runner.reset()
    stream = generate(runner, TOKENIZER, prompt, sampling, max_tokens=count, guesser=guesser, **options)
    await stream.text()
    return stream


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(temperature=1.0, seed=5), Sampling(1.5, 0, 1.0, seed=8)], ids=str)
async def test_the_text_is_the_same_with_guesses(speakers, sampling):
    for runner in map(speakers, speakers.architectures):
        plain = await said(runner, sampling)
        for wrong in (0, 1, 3):
            oracle = Oracle(PROMPT, plain.ids, wrong)
            stream = await said(runner, sampling, guesser(oracle))
            assert stream.ids == plain.ids and stream.usage.finish == plain.usage.finish
            (told,) = stream.usage.guesses
            assert told.drafted > 0 and (told.accepted == 0 if wrong == 1 else told.accepted > 0)
            assert runner.history == (PROMPT + plain.ids)[: len(runner.history)]


async def test_the_text_is_the_same_with_a_draft_model_and_with_look_up(speakers):
    runner, draft = speakers(), speakers(small=True)
    for sampling in (Sampling(temperature=0), Sampling(temperature=0.8, seed=3)):
        plain = await said(runner, sampling)
        for drafter in (DraftModel(draft), PromptLookup(), DraftModel(speakers())):
            stream = await said(runner, sampling, guesser(drafter))
            assert stream.ids == plain.ids
            if isinstance(drafter, DraftModel):
                assert stream.usage.guesses[0].drafted > 0
    assert stream.usage.guesses[0].accepted == stream.usage.guesses[0].drafted > 30, "a model guesses all that it would say itself"


async def test_a_clock_that_does_not_move_keeps_nobody_from_guessing(speakers):
    runner = speakers()
    plain = await said(runner, Sampling(temperature=0))
    stream = await said(runner, Sampling(temperature=0), Guesser([Oracle(PROMPT, plain.ids, wrong=3)], Still()), clock=Still())
    assert stream.ids == plain.ids and stream.usage.guesses[0].accepted > 0


async def test_what_is_drawn_with_guesses_has_the_models_distribution(speakers):
    """Two tokens over many seeds, the second of which was guessed, against the probabilities that the model gives them."""
    runner, shape, rounds = speakers(), {"temperature": 2.0, "top_k": 2, "top_p": 1.0}, 300
    sampler, expected = Sampler(Sampling(**shape)), {}
    for first, share in zip(*sampler.distribution(await read(runner, PROMPT)), strict=True):
        for second, then in zip(*sampler.distribution(await read(speakers(), [*PROMPT, int(first)])), strict=True):
            expected[int(first), int(second)] = rounds * share * then
    likely = max(expected, key=expected.get)
    oracle, counts, accepted = Oracle(PROMPT, [*likely, 0]), dict.fromkeys(expected, 0), 0
    for seed in range(rounds):
        stream = await said(runner, Sampling(**shape, seed=seed), guesser(oracle), count=3)
        counts[tuple(stream.ids[:2])] += 1
        accepted += stream.usage.guesses[0].accepted
    assert sum((counts[pair] - expected[pair]) ** 2 / expected[pair] for pair in expected) < 16.3  # chi-squared, 3 degrees: 1 in 1000
    assert rounds / 10 < accepted < rounds


async def test_a_stop_string_among_guesses_leaves_nothing_of_them_behind(speakers):
    runner = speakers()
    plain = await said(runner, Sampling(temperature=1.0, seed=1))
    text = TOKENIZER.decode(plain.ids)
    stream = await said(runner, Sampling(temperature=1.0, seed=1), guesser(Oracle(PROMPT, plain.ids)), stop=[text[9:12]])
    assert text.startswith(TOKENIZER.decode(stream.ids)[:8]) and stream.usage.finish == "stop"
    assert runner.history == PROMPT + stream.ids[:-1]
    assert np.allclose(await read(runner, stream.ids[-1:]), await read(speakers(), PROMPT + stream.ids), atol=1e-3)


async def test_leaving_among_guesses_leaves_nothing_of_them_behind(speakers):
    runner = speakers()
    plain = await said(runner, Sampling(temperature=1.0, seed=1))
    runner.reset()
    stream = generate(runner, TOKENIZER, PROMPT, Sampling(temperature=1.0, seed=1), guesser=guesser(Oracle(PROMPT, plain.ids)))
    async for _ in stream:
        if len(stream.ids) >= 6:
            break
    await stream._pieces.aclose()
    assert stream.usage.finish == "cancelled" and runner.history == PROMPT + stream.ids[:-1]
    assert np.allclose(await read(runner, stream.ids[-1:]), await read(speakers(), PROMPT + stream.ids), atol=1e-3)


async def test_look_ahead_follows_what_was_right_and_it_stops_where_it_does_not_pay(speakers):
    runner = speakers()
    plain = await said(runner, Sampling(temperature=1.0, seed=1), count=60)
    right, wrong = Oracle(PROMPT, plain.ids), Oracle(PROMPT, plain.ids, 1)
    await said(runner, Sampling(temperature=1.0, seed=1), guesser(right), count=60)
    assert max(right.asked) == 8 and right.asked[2] == 8
    dear = guesser(right, dear=1.0)
    stream = await said(runner, Sampling(temperature=1.0, seed=1), dear, count=60)
    (told,) = stream.usage.guesses
    assert told.off and "the speed without" in told.off and told.lookahead == 0
    stream = await said(runner, Sampling(temperature=1.0, seed=1), guesser(wrong, dear=0.3), count=60)
    assert stream.usage.guesses[0].rounds < 40 and stream.usage.guesses[0].accepted == 0


def test_it_tries_again_after_a_rest_and_rests_longer_each_time():
    class Wrong(Oracle):
        async def draft(self, ids, count, choose, pace):
            self.asked.append(count)
            return [1] * count

    drafter = Wrong([], [])
    made, gaps, silent = guesser(drafter, dear=1.0), [], 0

    async def rounds():
        nonlocal silent
        for _ in range(6 * LONGEST):
            if drafts := await made.guess([1], 8, None, None):
                made.judged(len(drafts), 0)
                if silent:
                    gaps.append(silent)
                silent = 0
            else:
                silent += 1

    asyncio.run(rounds())
    assert gaps[0] in range(REST - 2, REST + 3) and gaps[-1] > 4 * gaps[0] and max(gaps) <= LONGEST + 2


async def test_a_draft_reads_a_long_text_where_the_answer_is_long_enough_for_that():
    class Slow(Oracle):
        """A millisecond for each token that it reads, and one for each guess; a text is read once."""

        read = 0

        def begin(self):
            self.read = 0

        def behind(self, ids):
            return len(ids) - self.read

        async def draft(self, ids, count, choose, pace):
            clock.now += self.behind(ids) + count
            self.read = len(ids) + count
            return await super().draft(ids, count, choose, pace)

    async def text(length, prompt=400):
        """How often it guessed, and what is told of it."""
        made.begin()
        ids, before = [0] * prompt, len(drafter.asked)
        while len(ids) < prompt + length:
            drafts = await made.guess(ids, 1000, None, None)
            made.judged(len(drafts), len(drafts))
            ids += [0] * (1 + len(drafts))
        return len(drafter.asked) - before, made.told()[0]

    drafter, clock = Slow([0] * 10_000, []), Steps()
    made = guesser(drafter, clock=clock)
    assert (await text(60))[0] > 5, "what it takes is not known before it was tried"
    for length in (100, 20, 20, 20, 20):
        count, told = await text(length)
    assert count == 0 and told.lookahead == 0 and "it would read 400 tokens first, in 0.4 s, and save 0.15 s" in told.off
    assert (await text(400))[0] > 20, "it gave up for a while only, and the text turned out to be long"
    assert (await text(20, prompt=30))[0] > 1 and not made.told()[0].off


async def test_look_up_finds_what_followed_the_last_tokens_before():
    lookup = PromptLookup()
    assert await lookup.draft([1, 2, 3, 4, 5, 6, 1, 2, 3], 3, None, None) == [4, 5, 6]
    assert await lookup.draft([1, 2, 3, 4, 5, 6, 1, 2, 3, 9], 3, None, None) == []
    assert await lookup.draft([1, 2, 3, 4, 5, 6, 1, 2, 3, 9, 1, 2], 8, None, None) == [3, 9, 1, 2, 3, 9, 1, 2]
    lookup.begin()
    assert await lookup.draft([7, 7, 7], 4, None, None) == [7, 7, 7, 7]


def test_a_model_guesses_only_for_one_with_the_same_tokens():
    assert same_tokens(TOKENIZER.vocabulary, TOKENIZER.vocabulary)
    other = TOKENIZER.vocabulary.__class__([*TOKENIZER.vocabulary.tokens[:-1], "<|other|>"])
    assert not same_tokens(TOKENIZER.vocabulary, other)
