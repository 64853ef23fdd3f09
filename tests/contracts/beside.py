"""What stands beside a model: drafts that guess for it, adapters that it speaks with, and how a memory chooses to keep its conversations.

Bound by fixtures ``kernels`` and ``as_file``, as in ``tests.contracts.generated``.
"""

import asyncio
import gc

import numpy as np
import pytest

from pyruvllm.cache import PAGE, Setting
from pyruvllm.config import COLD, CacheConfig, Config
from pyruvllm.errors import ConfigError, GgufError, MismatchError, ModelError, NotFoundError
from pyruvllm.host import Device, current
from pyruvllm.memory.policy import PolicyEntry
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.models.adapter import AdapterStore, Lora, write_adapter
from pyruvllm.models.dialogue import _loaded
from pyruvllm.models.sampling import Sampling
from pyruvllm.runtime import RuvLLM
from pyruvllm.storage import open_driver
from tests.contracts.adapter import lora_for
from tests.contracts.stores import WordEmbedder
from tests.generators.scripted import scripted_model

SCRIPT = [f" w{number:02}x" for number in range(40)]
TARGET, DRAFT = scripted_model(SCRIPT, layers=6), scripted_model(SCRIPT, name="small")
GREEDY = Sampling(temperature=0)


class BesideContract:
    @pytest.fixture
    async def open_llm(self, kernels):
        opened = []

        async def open_llm(config=None, name=":memory:"):
            driver = await open_driver(name)
            opened.append(RuvLLM(await UnifiedMemory.open(driver, WordEmbedder(), config or Config()), kernels))
            return opened[-1]

        yield open_llm
        for llm in opened:
            await llm.close()

    async def test_a_draft_guesses_for_the_model_and_draws_on_its_pool(self, open_llm, as_file):
        llm = await open_llm()
        await llm.remember("w00x w01x", title="Words")
        plain = await self.alone(llm, as_file)
        draft = await llm.models.load_draft(as_file(DRAFT))
        assert draft == llm.models.draft == llm.models.loaded.draft and draft.name == "small"
        before = llm.pool.pool.used
        answer = await llm.ask("w00x?", session="s")
        told = answer.generated
        assert answer.text == plain.text and told.guessed >= told.accepted > 0 and "small: " in told.guessing
        assert f"{told.accepted} of {told.guessed} guesses were right" in told.guessing
        assert llm.witness.get(answer.id).generated == told == llm.models.loaded.last
        held = next(each for each in llm.pool.pool.holdings if each.name == "guesses of small")
        assert held.kind == "kv" and held.taken > 0 and llm.pool.pool.used - before >= held.taken and not llm.pool.pool.pinned(held)
        held.release()
        assert not held.taken and (await llm.ask("w00x?", session="t")).text == plain.text, "it reads the text again"

        await llm.models.unload_draft()
        assert llm.models.draft is None is llm.models.loaded.draft
        assert not [each for each in llm.pool.pool.holdings if each.name == "guesses of small"]
        answer = await llm.ask("w00x?", session="s")
        assert answer.text == plain.text and "small" not in answer.generated.guessing
        gc.collect()
        assert len([each for each in _loaded if each.name == "small"]) == 0

    @staticmethod
    async def alone(llm, as_file):
        await llm.models.load(as_file(TARGET))
        return await llm.ask("w00x?")

    async def test_a_draft_goes_with_the_model_and_comes_with_it(self, open_llm, as_file):
        llm = await open_llm()
        loaded = await llm.models.load(as_file(TARGET), draft=as_file(DRAFT))
        assert loaded.draft.name == "small" and llm.models.model.draft.name == "small"
        await llm.models.load(as_file(TARGET))
        assert llm.models.draft is None and llm.models.loaded.draft is None
        await llm.models.load_draft(as_file(DRAFT))
        await llm.models.unload()
        assert llm.models.draft is None is llm.models.model
        with pytest.raises(ModelError, match="load one first"):
            await llm.models.load_draft(as_file(DRAFT))

    async def test_a_draft_of_other_tokens_or_without_room_is_refused_and_all_stays(self, open_llm, as_file, monkeypatch):
        llm = await open_llm()
        await llm.models.load(as_file(TARGET), draft=as_file(DRAFT))
        other = [*SCRIPT[:-1], " otherx"]
        for script, why in ((other, "is ' w39x'|'Ġotherx' and not 'Ġw39x'"), (SCRIPT[:-1], "it has 298 tokens and parrot 299")):
            with pytest.raises(ModelError, match="cannot guess for parrot: .*" + why):
                await llm.models.load_draft(as_file(scripted_model(script, name="other")))
            assert llm.models.draft.name == "small" and llm.models.loaded.name == "parrot"
        monkeypatch.setattr(type(current()), "device", lambda self: Device(None, None, llm.models.loaded.nbytes + 1_000_000))
        with pytest.raises(ModelError, match="does not fit beside parrot. It needs"):
            await llm.models.load_draft(as_file(DRAFT))
        assert llm.models.draft.name == "small" and (await llm.ask("w00x?")).kind == "generated"

    async def test_adapters_are_kept_and_the_model_speaks_with_them(self, open_llm, as_file):
        llm = await open_llm()
        with pytest.raises(ModelError, match="load that first"):
            await llm.models.adapters.add(as_file(b"x"))
        await llm.models.load(as_file(TARGET))
        model = llm.models.model
        lora = silent(model)
        said = await model.generate("\n", GREEDY, max_tokens=4).text()
        kept = await llm.models.adapters.add(as_file(write_adapter(lora, "f16")), "silent")
        assert (kept.name, kept.version, kept.fits, kept.ready) == ("silent", 1, True, True) and llm.models.adapters.list() == [kept]
        spoken = await model.generate("\n", GREEDY, max_tokens=4, adapter="silent").text()
        assert spoken != said == await model.generate("\n", GREEDY, max_tokens=4).text()
        assert (await llm.models.adapters.add(lora, "silent")).version == 2 and len(llm.models.adapters.list()) == 1
        with pytest.raises(ConfigError, match="no matrix of a layer"):
            await llm.models.adapters.add(Lora(1.0, {"blk.99.attn_q": (np.ones((1, 4)), np.ones((4, 1)))}), "wrong")
        with pytest.raises(GgufError):
            await llm.models.adapters.add(as_file(TARGET), "wrong")
        assert [each.name for each in llm.models.adapters.list()] == ["silent"] == model.adapters.names

        await llm.models.load(as_file(TARGET))
        model = llm.models.model
        assert model.ready("silent") and llm.models.adapters.list()[0].ready, "what is kept is there with the model, prepared"
        before = dict(model.runner._recordings)
        assert await model.generate("\n", GREEDY, max_tokens=4, adapter="silent").text() == spoken
        assert model.runner._recordings == before, "turning to it recorded nothing"
        await llm.models.adapters.remove("silent")
        assert llm.models.adapters.list() == [] == model.adapters.names
        assert await model.generate("\n", GREEDY, max_tokens=4).text() == said
        with pytest.raises(NotFoundError, match="'silent'"):
            model.generate("\n", adapter="silent")
        with pytest.raises(NotFoundError, match="'silent'; there are none"):
            await llm.models.adapters.remove("silent")

    async def test_a_restored_memory_has_the_adapters_that_it_had(self, open_llm, as_file):
        llm = await open_llm()
        await llm.models.load(as_file(TARGET))
        parts = llm.models.model.runner.parts
        await llm.models.adapters.add(lora_for(parts), "kept")
        image = await llm.export_bytes()
        await llm.models.adapters.remove("kept")
        await llm.models.adapters.add(lora_for(parts, 2), "later")
        await llm.restore(image)
        assert [each.name for each in llm.models.adapters.list()] == ["kept"] == llm.models.model.adapters.names
        assert llm.models.model.ready("kept")

    async def test_an_adapter_of_another_model_is_listed_and_not_spoken_with(self, open_llm, as_file):
        llm = await open_llm()
        await llm.models.load(as_file(TARGET))
        await llm.models.adapters.add(lora_for(llm.models.model.runner.parts), "of the large")
        await llm.models.load(as_file(DRAFT))
        (kept,) = llm.models.adapters.list()
        assert not kept.fits and not kept.ready and llm.models.model.adapters.names == []
        with pytest.raises(MismatchError):
            AdapterStore(llm.memory.driver).load("of the large", llm.models.model.adapters.base)

    async def test_many_are_spoken_together_and_say_what_each_would_alone(self, open_llm, as_file):
        llm = await open_llm()
        with pytest.raises(ModelError, match="load one first"):
            await llm.models.together(["\n"])
        await llm.models.load("built-in")
        model, tell = (
            llm.models.model,
            "Question: Where is the key?\n\nNotes:\n[1] Key: The key hangs in the {} room.\n\nQuestion: Where is the key?",
        )
        prompts = [[{"role": "user", "content": tell.format(room)}] for room in ("red", "blue", "green", "small")]
        alone = [await model.chat(prompt, GREEDY, max_tokens=12).text() for prompt in prompts]
        assert await llm.models.together([*prompts, "\n"], GREEDY, max_tokens=12, stop=["[9"]) == [
            *alone,
            await model.generate("\n", GREEDY, max_tokens=12).text(),
        ]
        scheduler = llm.models._spoken._scheduler
        assert scheduler.steps < 12 * 3 and scheduler.active == 0
        sessions = ["a", "b", "c", "d"]
        assert await llm.models.together(prompts, GREEDY, max_tokens=12, sessions=sessions) == alone
        assert [model.caches.tier(id) for id in sessions] == ["hot"] * 4
        for wrong in ({"sessions": ["a"]}, {"sessions": ["a"] * 4}, {"max_tokens": 0}):
            with pytest.raises(ConfigError):
                await llm.models.together(prompts, **wrong)
        assert not llm.pool.pool.trimmed

    async def test_unloading_ends_what_is_spoken_together(self, open_llm, as_file):
        llm = await open_llm()
        await llm.models.load(as_file(scripted_model(SCRIPT, loop=True)))
        spoken = asyncio.create_task(llm.models.together(["\n"] * 3, GREEDY, max_tokens=4000))
        while not (llm.models._spoken and llm.models._spoken._scheduler.steps > 3):
            await asyncio.sleep(0)
        await llm.models.unload()
        texts = await spoken
        assert len(texts) == 3 and all(text.startswith(" w00x w01x") and len(text) < 4000 * 5 for text in texts)
        assert llm.models.model is None

    async def test_how_conversations_are_kept_can_be_chosen(self, open_llm, as_file):
        choice = CacheConfig(old="q8q4", rotate=True, tail=32)
        llm = await open_llm(Config(cache=choice))
        await llm.remember("w00x w01x", title="Words")
        await llm.models.load(as_file(scripted_model([f" w{number:03}x" for number in range(253)])))  # heads of 128 numbers
        with pytest.raises(ConfigError, match="heads of 76 numbers cannot be rotated"):
            await llm.models.load(as_file(TARGET))
        assert llm.models.loaded.name == "parrot"
        await llm.ask("w00x? " * 40, session="s")
        sequence = llm.models.model.caches.find("s")
        assert sequence.setting == Setting(32, "q8q4", rotate=True) and sequence.old_tokens >= 4 * PAGE
        exact = dict(llm.policies.latest("quantization").parameters) | {"precision": "fp16", "quality_weight": 1.0}
        llm.policies.put(PolicyEntry("quantization", exact, "instant_loop"))
        await llm.flush()
        assert sequence.setting.old == "q8q4", "a choice holds"
        assert llm.models.model.caches.limit == COLD[current().name]

        llm = await open_llm(Config(cache=CacheConfig(cold=7 << 20)))
        await llm.models.load(as_file(TARGET))
        assert llm.models.model.caches.limit == 7 << 20 and llm.models.model.caches.chosen is None
        for wrong in ({"old": "q5"}, {"tail": 10}, {"cold": -1}, {"budget": 0}):
            with pytest.raises(ConfigError):
                CacheConfig(**wrong)


def silent(model):
    """An adapter of a model whose layers add nothing: with it the first feed-forward pulls every token towards one of the script's."""
    parts, rows = model.runner.parts, model.runner.parts.matrices["blk.0.ffn_down"]
    up, gate = parts.matrices["blk.0.ffn_up"], parts.matrices["blk.0.ffn_gate"]

    def side(rows, cols, at=None):
        b = np.zeros((rows, 1), np.float32)
        b[slice(None) if at is None else at] = 8.0
        return np.full((1, cols), 1.0, np.float32), b

    return Lora(
        0.0,
        {
            "blk.0.ffn_up": side(up.rows, up.cols),
            "blk.0.ffn_gate": side(gate.rows, gate.cols),
            "blk.0.ffn_down": side(rows.rows, rows.cols, 280),
        },
        "llama",
    )
