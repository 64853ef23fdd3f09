"""Generation over a real, small model with random weights and the bytes as its vocabulary.

Bound by a fixture ``speakers``: tests/contracts/speaker.py.
"""

import asyncio

import numpy as np
import pytest

from pyruvllm.config import Clock
from pyruvllm.errors import ConfigError
from pyruvllm.models.generate import generate
from pyruvllm.models.sampling import Sampling
from tests.contracts.speaker import END, FILE, PROMPT, TOKENIZER, read
from tests.generators.decoders import Twin

FREE = Sampling(temperature=1.0, seed=9)


@pytest.fixture
def runner(speakers):
    return speakers()


async def test_greedy_text_is_the_twins(runner):
    stream = generate(runner, TOKENIZER, PROMPT, Sampling(temperature=0), max_tokens=40)
    text = await stream.text()
    expected = Twin(FILE).greedy(PROMPT, 40)
    assert stream.ids == expected[: len(stream.ids)] and text == TOKENIZER.decode(stream.ids)
    assert stream.usage.finish == ("length" if END not in expected else "stop")


async def test_the_same_seed_gives_the_same_text(runner):
    texts = []
    for seed in (1, 1, 2):
        runner.reset()
        texts.append(await generate(runner, TOKENIZER, PROMPT, Sampling(temperature=1.0, seed=seed), max_tokens=60).text())
    assert texts[0] == texts[1] != texts[2]


async def test_usage_and_pieces(runner):
    stream = generate(runner, TOKENIZER, PROMPT, FREE, max_tokens=50)
    pieces = [piece async for piece in stream]
    assert len(pieces) > 5 and "".join(pieces) == TOKENIZER.decode(stream.ids)
    usage = stream.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(PROMPT), len(stream.ids))
    assert usage.prompt_ms > 0 and usage.completion_ms > 0 and usage.tokens_per_second > 0


async def test_it_ends_at_a_stop_string_that_is_not_shown(runner):
    whole = await generate(runner, TOKENIZER, PROMPT, FREE, max_tokens=60).text()
    stop = whole[20:23]
    at = whole.index(stop)
    runner.reset()
    stream = generate(runner, TOKENIZER, PROMPT, FREE, max_tokens=60, stop=["never said by it", stop])
    assert await stream.text() == whole[:at] and stream.usage.finish == "stop"


async def test_what_only_began_like_a_stop_string_is_shown(runner):
    whole = await generate(runner, TOKENIZER, PROMPT, FREE, max_tokens=30).text()
    runner.reset()
    assert await generate(runner, TOKENIZER, PROMPT, FREE, max_tokens=30, stop=[whole[-2:] + "\x07"]).text() == whole


async def test_it_ends_where_the_context_does(runner):
    stream = generate(runner, TOKENIZER, PROMPT * 5, Sampling(temperature=1.0, seed=4), max_tokens=500)
    await stream.text()
    assert stream.usage.finish in ("context", "stop") and runner.position <= runner.context


async def test_others_have_their_turns_and_leaving_stops_it(runner, monkeypatch):
    monkeypatch.setattr("pyruvllm.models.generate.SLICE_MS", 0.0)  # however fast it is
    stream, turns = generate(runner, TOKENIZER, PROMPT, FREE, max_tokens=200), 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async for _ in stream:
        if len(stream.ids) >= 20:
            break
    await stream._pieces.aclose()
    task.cancel()
    assert turns >= 20 and stream.usage.finish == "cancelled" and len(stream.ids) < 200
    at = runner.position
    await asyncio.sleep(0.01)
    assert runner.position == at


async def test_cancelling_ends_it_within_a_token_and_in_the_middle_of_a_prompt(runner, speakers):
    stream = generate(runner, TOKENIZER, PROMPT, FREE, max_tokens=200)
    async for _ in stream:
        if len(stream.ids) == 8:
            stream.cancel()
    assert stream.usage.finish == "cancelled" and len(stream.ids) == 8 and runner.history == PROMPT + stream.ids[:-1]
    runner.reset()
    stream = generate(runner, TOKENIZER, PROMPT * 4, FREE, clock=Slow())
    task = asyncio.create_task(stream.text())
    while not runner.position:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    at = runner.position
    assert 0 < at < len(PROMPT * 4) and stream.usage.finish == "cancelled"
    assert np.allclose(await read(runner, (PROMPT * 4)[at:]), await read(speakers(), PROMPT * 4), atol=1e-3)


class Slow(Clock):
    """By which every slice of work takes a second."""

    now = 0.0

    def elapsed_ms(self):
        self.now += 1000
        return self.now


async def test_a_prompt_that_is_too_long_is_refused_or_cut_in_the_middle(runner):
    prompt = PROMPT * 8
    with pytest.raises(ConfigError, match="does not fit"):
        generate(runner, TOKENIZER, prompt)
    stream = generate(runner, TOKENIZER, prompt, FREE, max_tokens=50, overflow="truncate")
    await stream.text()
    used = stream.usage
    assert used.prompt_tokens == 256 - 50 and used.prompt_tokens + used.dropped_tokens == len(prompt)
    assert runner.history[:51] == prompt[:51] and runner.history[51:206] == prompt[-155:]
    with pytest.raises(ConfigError, match="overflow"):
        generate(runner, TOKENIZER, PROMPT, overflow="forget")


async def test_shifting_goes_on_beyond_the_context_with_the_first_and_the_newest(speakers):
    runner = speakers(context=96)
    stream = generate(runner, TOKENIZER, PROMPT, Sampling(temperature=1.0, seed=6), max_tokens=300, overflow="shift")
    await stream.text()
    if stream.usage.finish != "stop":
        assert len(stream.ids) == 300
    assert len(stream.ids) > 96 and stream.usage.dropped_tokens > 0 and runner.history[:12] == PROMPT[:12]
    assert runner.history[12:] == (PROMPT + stream.ids)[-len(runner.history[12:]) - 1 : -1]
    ids = stream.ids
    assert np.allclose(await read(runner, ids[-1:]), await read(speakers(context=96), [*runner.history]), atol=1e-3)


async def test_log_probabilities_are_the_models(runner):
    stream = generate(runner, TOKENIZER, PROMPT, Sampling(temperature=0.5, top_k=3, seed=1), max_tokens=8, logprobs=5)
    await stream.text()
    logits = Twin(FILE).logits(PROMPT + stream.ids)
    for place, score in enumerate(stream.scores):
        row = logits[len(PROMPT) - 1 + place]
        expected = row - row.max() - np.log(np.exp(row - row.max()).sum())
        assert score.id == stream.ids[place] and score.logprob == pytest.approx(expected[score.id], abs=0.02)
        assert [one for one, _ in score.top[:1]] == [int(row.argmax())] and len(score.top) == 5


@pytest.mark.parametrize(
    "wrong",
    [{"max_tokens": 0}, {"max_tokens": 1.5}, {"stop": "x"}, {"stop": [""]}, {"logprobs": -1}, {"prompt": []}, {"prompt": [1] * 300}],
)
def test_what_cannot_be_is_refused(runner, wrong):
    with pytest.raises(ConfigError):
        generate(runner, TOKENIZER, **{"prompt": PROMPT, **wrong})
