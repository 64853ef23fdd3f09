"""What a loaded model takes up from the text before, is held to, and is guessed for, as a user asks it.

Bound by a fixture ``speakers``: tests/contracts/speaker.py.
"""

import json

import pytest

from pyruvllm.errors import ConfigError, NotFoundError
from pyruvllm.models.sampling import Sampling

GREEDY = Sampling(temperature=0)


async def said(model, prompt, **options):
    stream = model.generate(prompt, GREEDY, **options)
    await stream.text()
    return stream


async def test_a_conversation_that_goes_on_is_not_read_again(speakers):
    model = speakers.dialogue()
    first = await said(model, "Hello", max_tokens=5)
    more = model.tokenizer.encode("Hello") + first.ids + model.tokenizer.encode(" and then")
    second = await said(model, more, max_tokens=5)
    assert second.usage.prompt_tokens - second.usage.cached_tokens == 10, "the last token of the answer was not taken in yet"
    fresh = await said(speakers.dialogue(), more, max_tokens=5)
    assert fresh.ids == second.ids and fresh.usage.cached_tokens == 0
    assert (await said(model, "Something else", max_tokens=2)).usage.prompt_tokens == 14


async def test_text_is_held_to_a_schema(speakers):
    model = speakers.dialogue()
    schema = {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 2, "maxItems": 3}
    for seed in range(3):
        options = {"sampling": Sampling(1.2, seed=seed), "schema": schema, "max_tokens": 40}
        texts = [await model.generate("List:", **options, speculate=speculate).text() for speculate in (True, False)]
        value = json.loads(texts[0])
        assert texts[0] == texts[1] and 2 <= len(value) <= 3 and all(len(each) <= 5 for each in value)
    with pytest.raises(ConfigError, match="'not' is not understood"):
        model.generate("x", schema={"not": {}})
    with pytest.raises(ConfigError, match="max_tokens is 2"):
        model.generate("x", schema=schema, max_tokens=2)


async def test_another_model_guesses_for_it_until_it_is_closed(speakers):
    model, helper = speakers.dialogue(), speakers.dialogue()
    plain = await said(model, "The engine ", max_tokens=40, speculate=False)
    model.assist(helper)
    stream = await said(model, "The engine ", max_tokens=40)
    assert stream.ids == plain.ids and [told.name for told in stream.usage.guesses] == ["prompt look-up", "tiny"]
    assert stream.usage.guesses[1].drafted == stream.usage.guesses[1].accepted > 0, "it would say the same"
    helper.close()
    stream = await said(model, "The engine ", max_tokens=40)
    assert stream.ids == plain.ids and [told.name for told in stream.usage.guesses] == ["prompt look-up"]


async def test_a_prompt_that_does_not_fit_is_refused_cut_or_shifted(speakers):
    prompt, model = "The engine of the Annika ran hot. " * 4, speakers.dialogue(context=64)
    with pytest.raises(ConfigError, match="does not fit a context of 64"):
        model.generate(prompt)
    for overflow in ("truncate", "shift"):
        stream = await said(model, prompt, max_tokens=60, overflow=overflow)
        used = stream.usage
        assert used.dropped_tokens > 0 and used.finish == ("context" if overflow == "truncate" else "length"), used
    assert (
        len(stream.ids) == 60
        and (await said(model, "Hello", max_tokens=5)).ids == (await said(speakers.dialogue(), "Hello", max_tokens=5)).ids
    )


async def test_an_adapter_that_it_has_not_is_refused(speakers):
    with pytest.raises((ConfigError, NotFoundError), match="adapter"):
        await said(speakers.dialogue(), "Hello", adapter="legal")
