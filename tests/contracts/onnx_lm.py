"""Language models in ONNX: the same logits, the same text and the same options as the decoder of the same weights.

Bound by fixtures ``host``, whose assets have the folder "tiny" (tests/generators/onnx_decoder.py), and ``kernels``.
"""

import json

import numpy as np
import pytest

from pyruvllm.config import Config
from pyruvllm.errors import ConfigError, ModelError
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.models.generate import generate
from pyruvllm.models.hub import metadata_of
from pyruvllm.models.onnx_lm import OnnxRunner, open_onnx
from pyruvllm.models.sampling import Sampling
from pyruvllm.models.shelf import ModelShelf
from pyruvllm.runtime import RuvLLM
from pyruvllm.storage import open_driver
from tests.contracts.speaker import PROMPT, TOKENIZER, nothing, runner_of
from tests.contracts.stores import WordEmbedder

GRAPHS = ("model", "bare", "half")  # files of the folder


class OnnxLanguageModelContract:
    @pytest.mark.parametrize("graph", GRAPHS)
    async def test_logits_are_the_decoders(self, host, kernels, graph):
        session = await host.onnx_session(f"tiny/onnx/{graph}.onnx")
        found, expected, ids = OnnxRunner(session, 256), runner_of(kernels), [*PROMPT, *PROMPT]
        for start, end, every in ((0, 70, False), (70, 71, False), (71, 72, False), (72, 80, True), (80, 92, False)):
            own = (await found.read(ids[start:end], nothing, every)).copy()
            other = await expected.read(ids[start:end], nothing, every)
            assert own.shape == other.shape and np.abs(own - other).max() < 5e-3 * np.abs(other).max(), (start, end)
        assert found.history == ids[:92] and found.vocabulary == 257
        await session.release()

    async def test_it_goes_back_to_anywhere(self, host, kernels):
        session = await host.onnx_session("tiny/onnx/model.onnx")
        found, expected = OnnxRunner(session, 256), runner_of(kernels)
        await found.read(PROMPT, nothing)
        await found.read(PROMPT[:9], nothing, every=True)
        for position in (len(PROMPT) + 4, len(PROMPT) + 1, len(PROMPT), 20, 0):
            found.rewind(position)
            assert found.position == position
            ids = (PROMPT + PROMPT)[:position] + [7, 8, 9]
            own = (await found.read([7, 8, 9], nothing)).copy()
            expected.rewind(0)
            assert np.abs(own[0] - expected.feed(ids)).max() < 5e-3 * np.abs(own).max(), position
            assert found.history == ids
        with pytest.raises(ConfigError):
            found.rewind(500)
        for ids in ([], [257], [-1], [1] * 300):
            with pytest.raises(ConfigError):
                await found.read(ids, nothing)
        await session.release()

    async def test_text_is_the_decoders_with_and_without_guesses(self, host, kernels):
        model = await open_onnx(host, "tiny")
        for sampling in (Sampling(temperature=0), Sampling(temperature=0.8, seed=4)):
            expected = generate(runner_of(kernels), TOKENIZER, PROMPT, sampling, max_tokens=24)
            await expected.text()
            for speculate in (False, True):
                stream = model.generate("The engine of the Annika ran hot twice because", sampling, max_tokens=24, speculate=speculate)
                await stream.text()
                assert stream.ids == expected.ids
        await model.release()

    async def test_it_has_the_options_of_the_others(self, host):
        model = await open_onnx(host, "tiny", context=200)
        assert (model.name, model.runner.context) == ("tiny", 200) and model.nbytes > 10_000
        schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}
        stream = model.chat([{"role": "user", "content": "Yes or no?"}], Sampling(1.5, seed=1), schema=schema, max_tokens=30, logprobs=2)
        value = json.loads(await stream.text())
        assert 1 <= len(value) <= 3 and set(value) <= {True, False} and len(stream.scores[0].top) == 2
        first = stream.usage
        stream = model.chat([{"role": "user", "content": "Yes or no?"}, {"role": "assistant", "content": "No."}], max_tokens=4)
        await stream.text()
        assert first.cached_tokens == 0 and stream.usage.cached_tokens > 10
        with pytest.raises(ConfigError, match="does not fit"):
            model.generate("x" * 400)
        await model.release()

    async def test_it_answers_from_a_memory_until_it_is_unloaded(self, host):
        async with RuvLLM(await UnifiedMemory.open(await open_driver(":memory:"), WordEmbedder(), Config())) as llm:
            llm.models = ModelShelf(lambda: None, host, llm.config.clock)
            await llm.remember("The lease ends on 31 January 2029.", title="Lease")
            loaded = await llm.models.load_onnx("tiny")
            told = llm.in_use()
            assert (told["model"]["id"], told["pool"], told["caches"]) == (loaded.id, None, None), "it keeps its conversation itself"
            assert (loaded.id, loaded.architecture, llm.models.loaded) == ("tiny", "lfm2", loaded) and loaded.nbytes > 10_000
            first, second = [await llm.ask("When does the lease end?", session=name) for name in "ab"]
            assert first.kind == second.kind == "generated", first.notes
            assert first.generated.completion_tokens > 0
            assert llm.models.loaded.last == second.generated
            with pytest.raises(ModelError):
                await llm.models.load_onnx("missing")
            assert llm.models.loaded.id == "tiny"
            await llm.models.unload()
            assert llm.models.loaded is None and (await llm.ask("When does the lease end?")).kind == "extractive"

    async def test_what_is_no_such_model_is_refused(self, host):
        with pytest.raises(ModelError):
            await open_onnx(host, "missing")
        with pytest.raises(ModelError):
            await open_onnx(host, "tiny", "config.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokenizer.json": b"no"}, "tokenizer.json is missing or no JSON"),
        ({"tokenizer.json": b'{"model": {"type": "Unigram"}}'}, "a Unigram model"),
        ({"tokenizer.json": b'{"model": {"type": "BPE"}}'}, "does not describe"),
        ({"config.json": b"[]"}, "config.json is no object"),
    ],
)
def test_files_of_a_repository_that_describe_no_tokenizer_are_refused(change, says):
    whole = {"tokenizer.json": b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}', "config.json": b"{}"}
    with pytest.raises(ModelError, match=says):
        metadata_of({**whole, **change}, "x")
