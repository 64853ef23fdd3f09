"""Several streams over one model: whatever the order in which they are asked on, each says what it would alone.

Bound by a fixture ``speakers``: tests/contracts/speaker.py.
"""

import asyncio

import pytest

from pyruvllm.chat import Chat
from pyruvllm.errors import ConfigError
from pyruvllm.models.sampling import Sampling

PROMPTS = ("The engine ran hot because", "The engine of the boat", "Walnuts are")


def sampling(seed):
    return Sampling(temperature=1.0, seed=seed)


async def alone(speakers, prompt, seed, **options):
    stream = speakers.dialogue().generate(prompt, sampling(seed), **{"max_tokens": 24, **options})
    await stream.text()
    return stream.ids


@pytest.fixture
def model(speakers):
    return speakers.dialogue()


async def test_streams_that_are_begun_together_say_what_each_says_alone(speakers, model):
    streams = [model.generate(prompt, sampling(seed), max_tokens=24) for seed, prompt in enumerate(PROMPTS)]
    texts = await asyncio.gather(*(stream.text() for stream in streams))
    assert [stream.ids for stream in streams] == [await alone(speakers, prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    assert len(set(texts)) == 3 and all(stream.usage.finish in ("stop", "length") for stream in streams)


@pytest.mark.parametrize("options", [{}, {"speculate": False}, {"max_tokens": 120, "overflow": "shift"}])
async def test_streams_asked_in_turn_read_their_text_again_and_go_on(speakers, options):
    model = speakers.dialogue(context=64)
    model.turns.patience = 0  # whoever waits takes the turn of one that is not at work
    streams = [model.generate(prompt, sampling(seed), **{"max_tokens": 24, **options}) for seed, prompt in enumerate(PROMPTS)]
    open_ones = [aiter(stream) for stream in streams]
    while open_ones:
        for pieces in list(open_ones):
            if await anext(pieces, None) is None:
                open_ones.remove(pieces)
    for seed, stream in enumerate(streams):
        expected = speakers.dialogue(context=64).generate(PROMPTS[seed], sampling(seed), **{"max_tokens": 24, **options})
        await expected.text()
        assert (stream.ids, stream.usage.finish) == (expected.ids, expected.usage.finish), seed


async def test_one_that_is_left_lying_keeps_nobody_waiting_and_spoils_nothing(speakers, model):
    left = model.generate(PROMPTS[0], sampling(0), max_tokens=24)
    async for _ in left:
        break
    other = model.generate(PROMPTS[1], sampling(1), max_tokens=24)
    pieces = aiter(other)
    await anext(pieces)  # takes the turn
    await aiter(left).aclose()
    assert left.usage.finish == "cancelled"
    async for _ in pieces:
        pass
    assert other.ids == await alone(speakers, PROMPTS[1], 1)


async def test_one_that_waits_can_be_cancelled_and_the_next_has_its_turn(speakers, model, monkeypatch):
    monkeypatch.setattr("pyruvllm.models.generate.SLICE_MS", 0.0)  # else the first may be done before anybody else has a turn
    first, waiting, last = (model.generate(prompt, sampling(seed), max_tokens=24) for seed, prompt in enumerate(PROMPTS))
    tasks = [asyncio.create_task(stream.text()) for stream in (first, waiting, last)]
    await asyncio.sleep(0)
    waiting.cancel()
    texts = await asyncio.gather(*tasks)
    assert texts[1] == "" and waiting.usage.finish == "cancelled" and waiting.ids == []
    assert (first.ids, last.ids) == (await alone(speakers, PROMPTS[0], 0), await alone(speakers, PROMPTS[2], 2))


async def test_what_is_being_said_ends_when_all_is_forgotten(speakers, model):
    stream = model.generate(PROMPTS[0], sampling(0), max_tokens=200)
    async for _ in stream:
        model.forget()
    assert stream.usage.finish == "cancelled" and len(stream.ids) < 200
    again = model.generate(PROMPTS[1], sampling(1), max_tokens=24)
    await again.text()
    assert again.ids == await alone(speakers, PROMPTS[1], 1) and again.usage.cached_tokens == 0


async def test_chat_completions_together_are_those_one_after_the_other(speakers):
    chat = Chat(speakers.dialogue())

    async def one(text, seed):
        asked = [{"role": "user", "content": text}]
        return (await chat.completions.create(messages=asked, seed=seed, max_tokens=20, temperature=1.0)).choices[0].message.content

    said = [("Hello there", 1), ("Something else", 2)]
    assert await asyncio.gather(*(one(*each) for each in said)) == [await one(*each) for each in said]


async def test_one_that_was_not_begun_yet_loses_nothing_to_one_that_is_refused(speakers, model):
    await model.generate(PROMPTS[0], sampling(0), max_tokens=24).text()  # so that most of it is known
    stream = model.generate(PROMPTS[0], sampling(0), max_tokens=24)
    with pytest.raises(ConfigError):
        model.generate(PROMPTS[2], sampling(0), max_tokens=0)
    await stream.text()
    assert stream.ids == await alone(speakers, PROMPTS[0], 0)


async def test_pieces_are_the_same_where_every_one_waits_for_another(speakers, model):
    """A model that guesses: what was guessed for one text is not taken for another's."""
    model.turns.patience, again = 0, "again and again and again and again and "
    streams = [model.generate(again + prompt, Sampling(temperature=0), max_tokens=60) for prompt in PROMPTS[:2]]
    first, second = map(aiter, streams)
    while (await anext(first, None), await anext(second, None)) != (None, None):
        pass
    for prompt, stream in zip(PROMPTS, streams, strict=False):
        expected = speakers.dialogue().generate(again + prompt, Sampling(temperature=0), max_tokens=60)
        await expected.text()
        assert stream.ids == expected.ids
