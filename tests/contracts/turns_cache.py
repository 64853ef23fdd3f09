"""Streams over one model whose conversations have caches of their own in a pool, which models from GGUF files have.

Bound by fixtures ``kernels``, a KernelRegistry, and ``speakers``: Decoders of it.
"""

from pyruvllm.cache import Caching, Pool
from pyruvllm.models.language import LanguageModel
from tests.contracts.speaker import with_template
from tests.contracts.turns import PROMPTS, alone, sampling


async def test_conversations_with_caches_of_their_own_go_on_too(kernels, speakers):
    model = LanguageModel(with_template(), kernels, context=128, caching=Caching(Pool(4 << 20, kernels.empty)))
    model.turns.patience = 0
    streams = [model.generate(prompt, sampling(seed), max_tokens=24, session=prompt) for seed, prompt in enumerate(PROMPTS)]
    first = aiter(streams[0])
    begun = [await anext(first)]
    assert [stream.ids for stream in streams[1:] if await stream.text()] == [await alone(speakers, PROMPTS[n], n) for n in (1, 2)]
    text = "".join(begun + [piece async for piece in first])
    assert text == model.tokenizer.decode(streams[0].ids) and streams[0].ids == await alone(speakers, PROMPTS[0], 0)


async def test_a_model_does_not_rest_in_the_middle_of_a_text(kernels, speakers):
    pool = Pool(4 << 20, kernels.empty)
    model = LanguageModel(with_template(), kernels, context=128, caching=Caching(pool))
    stream = model.generate(PROMPTS[0], sampling(0), max_tokens=24)
    pieces = aiter(stream)
    for _ in range(5):
        await anext(pieces)
        model.rest()
        assert pool.pinned(model.runner.sequence.holding)
    async for _ in pieces:
        pass
    assert stream.ids == await alone(speakers, PROMPTS[0], 0)
    model.rest()
    assert not pool.pinned(model.runner.sequence.holding)
