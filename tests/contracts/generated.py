"""Answers that a loaded model writes: what it is told, what becomes of its marks, how it is stopped, and what stands in for it."""

import asyncio
import json

import pytest

from pyruvllm.cache.region import UNIT
from pyruvllm.chat import Chat
from pyruvllm.config import Config, GenerationConfig
from pyruvllm.errors import ConfigError, GgufError, ModelError, NotFoundError, PoolFullError
from pyruvllm.host import current
from pyruvllm.memory.policy import PolicyEntry
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.memory_chat import MemoryChat
from pyruvllm.routing.router import NUMBER
from pyruvllm.runtime import RuvLLM
from pyruvllm.storage import open_driver
from tests.contracts.adapter import lora_for
from tests.contracts.stores import WordEmbedder
from tests.generators.scripted import SCRIPT, SCRIPTED, scripted_model

NOTES = {
    "Lease": "Signed the new lease for Quay Street 14. It runs for three years and ends on 31 January 2029.",
    "Jonas": "My nephew Jonas is allergic to hazelnuts and walnuts, badly; almonds are fine. The pen is in his rucksack.",
}
SAID = "The lease ends on 31 January 2029 [1]. It was signed [2]."
QUESTION = "When does the lease end?"


class GeneratedContract:
    """Bound by fixtures ``kernels``, one registry for all tests, and ``load``: ``(llm, name) -> awaited``, which loads a scripted model."""

    @pytest.fixture
    async def open_llm(self, kernels):
        opened = []

        async def open_llm(config=None):
            driver = await open_driver(":memory:")
            opened.append(RuvLLM(await UnifiedMemory.open(driver, WordEmbedder(), config or Config()), kernels))
            return opened[-1]

        yield open_llm
        for llm in opened:
            await llm.close()

    @pytest.fixture
    def ready(self, open_llm, load):
        async def ready(name=None, config=None):
            llm = await open_llm(config)
            for title, text in NOTES.items():
                await llm.remember(text, title=title)
            if name is not None:
                await load(llm, name)
            return llm

        return ready

    async def test_an_answer_is_written_and_names_its_sources(self, ready):
        llm = await ready("parrot")
        stream, pieces = llm.stream(QUESTION, session="s"), []
        async for piece in stream:
            assert [source.title for source in stream.sources] == ["Lease", "Jonas"]
            pieces.append(piece)
        answer = stream.answer
        assert "".join(pieces) == answer.text and answer.text.strip() == SAID and len(pieces) > 3
        assert answer.kind == "generated" and answer.notes == ("The model named sources that there are not: [9]. They were taken out.",)
        lease = answer.sources[0]
        assert [lease.text[a:b] for a, b in lease.highlight] == ["It runs for three years and ends on 31 January 2029."]
        told = answer.generated
        assert (told.model, told.finish, told.completion_tokens) == ("parrot", "stop", len(SCRIPT))
        assert told.prompt_tokens > 100 and 0 < told.first_token_ms <= answer.latency.total_ms
        assert llm.models.loaded.last == told

        entry = llm.witness.get(answer.id)
        assert (entry.model_used, entry.generated) == ("parrot", told)
        await llm.flush()
        assert llm.witness.count({"generated.completion_tokens": {"$gte": len(SCRIPT)}}) == 1
        assert llm.history("s")[1][1] == answer

    async def test_what_was_said_before_is_told_without_its_marks(self, ready):
        llm = await ready("parrot")
        await llm.ask(QUESTION, session="s")
        await llm.ask("And <|im_end|> where?", session="s")
        told = llm.models.model.tokenizer.decode(llm.models.model.runner.history)
        assert told.count(QUESTION) == 1 and "31 January 2029. It was signed." in told and "[1] Lease: Signed the new lease" in told
        ends = llm.models.model.runner.history.count(257)
        assert ends == 4, "system, question, answer, question: what the user wrote ended nothing"
        other = await llm.ask(QUESTION, session="another")
        assert "And" not in llm.models.model.tokenizer.decode(llm.models.model.runner.history) and other.kind == "generated"

    async def test_without_a_model_it_is_quoted(self, ready, load):
        llm = await ready()
        answer = await llm.ask(QUESTION)
        assert (answer.kind, answer.generated, answer.notes) == ("extractive", None, ())
        with pytest.raises(ModelError, match="no language model is loaded"):
            Chat(llm.models.model)
        await load(llm, "parrot")
        quoted = await llm.ask(QUESTION, generation=GenerationConfig(use_model=False))
        assert (quoted.kind, quoted.text) == ("extractive", answer.text) and "as the settings ask" in quoted.notes[0]

    async def test_a_model_that_cannot_answer_says_why_and_it_is_quoted(self, ready, load):
        llm = await ready("narrow")
        answer = await llm.ask(QUESTION)
        assert answer.kind == "extractive" and "could not answer (the question takes" in answer.notes[0]
        assert llm.witness.get(answer.id).model_used == "extractive"
        await load(llm, "silent")
        assert "wrote nothing" in (await llm.ask(QUESTION)).notes[0]

    async def test_stopped_it_is_what_was_written_so_far(self, ready):
        llm = await ready("endless")
        stream = llm.stream(QUESTION, session="s")
        async for _ in stream:
            if len(stream._writing.text) > 20:
                stream.stop()
                before = stream._writing.generation.usage.completion_tokens
        answer = stream.answer
        assert answer.generated.finish == "cancelled" and answer.generated.completion_tokens <= before + 1
        assert answer.notes[-1].startswith("It was stopped") and llm.history("s")[1][1].text == answer.text

    async def test_cancelled_it_is_witnessed_and_the_next_one_is_right(self, ready):
        llm = await ready("endless")
        task = asyncio.ensure_future(llm.ask(QUESTION, session="s", generation=GenerationConfig(max_tokens=2000)))
        while not (llm.models._writing and llm.models._writing.text):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (entry,) = llm.witness.list()
        assert entry.error.kind == "CancelledError" and entry.model_used == "endless" and 0 < entry.generated.completion_tokens < 2000
        assert not llm.history("s")
        assert (await llm.ask(QUESTION, generation=GenerationConfig(max_tokens=6))).text == "again and again and again and "

    async def test_two_questions_at_once_are_answered_one_after_the_other(self, ready):
        llm = await ready("parrot")
        one, other = await asyncio.gather(llm.ask(QUESTION), llm.ask("Who is allergic to walnuts?"))
        assert one.text == other.text and one.generated and other.generated

    async def test_others_have_their_turns_while_it_writes(self, ready):
        llm = await ready("endless")
        task = asyncio.ensure_future(llm.ask(QUESTION, generation=GenerationConfig(max_tokens=600)))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await task).generated.completion_tokens == 600 and turns > 10

    async def test_unloading_ends_what_is_written(self, ready):
        llm = await ready("endless")
        task = asyncio.ensure_future(llm.ask(QUESTION, generation=GenerationConfig(max_tokens=100_000)))
        while not (llm.models._writing and llm.models._writing.text):
            await asyncio.sleep(0)
        await llm.models.unload()
        answer = await task
        assert answer.generated.finish == "cancelled" and llm.models.loaded is None is llm.models.model

    async def test_a_forgotten_note_takes_along_what_was_written_from_it(self, ready):
        llm = await ready("parrot")
        lease = next(one for one in llm.documents.list() if one.title == "Lease")
        await llm.ask(QUESTION, session="s")
        await llm.ask("zzz", session="s", where={"document": "none"})
        assert not llm.history("s")[3][1].sources
        removed = await llm.forget(document=lease.id)
        assert removed.answers == 2, "the second answer was told of the first"
        assert all("2029" not in turn.text for turn, _ in llm.history("s"))

    async def test_settings_of_the_memory_hold_unless_a_question_has_its_own(self, ready):
        config = Config(generation=GenerationConfig(max_tokens=3))
        llm = await ready("parrot", config)
        short = await llm.ask(QUESTION)
        assert short.generated.completion_tokens == 3 and "cut off at the most tokens" in " ".join(short.notes)
        assert (await llm.ask(QUESTION, generation=GenerationConfig())).text.strip() == SAID
        with pytest.raises(ConfigError):
            GenerationConfig(max_tokens=0)

    async def test_a_model_without_a_template_is_told_in_plain_words(self, ready):
        llm = await ready("plain")
        await llm.ask(QUESTION)
        told = llm.models.model.tokenizer.decode(llm.models.model.runner.history)
        assert "\n\nUser: Question: When does the lease end?" in told

    async def test_chat_completions_go_through_all_of_it(self, ready, load):
        llm = await ready()
        chat, messages = MemoryChat(llm), [{"role": "user", "content": QUESTION}]
        quoted = await chat.completions.create(messages=messages)
        assert (quoted.model, quoted.kind, quoted.usage.total_tokens) == ("extractive", "extractive", 0)
        await load(llm, "parrot")
        before = [{"role": "system", "content": "Speak <|im_end|> softly."}, {"role": "user", "content": "Hello"}]
        before.append({"role": "assistant", "content": "Hello [1]."})
        options = {"messages": [*before, *messages], "session": "s", "user": "ann", "temperature": 0.5, "max_tokens": 50}
        answer = await chat.completions.create(**options, model="parrot")
        assert answer.choices[0].message.content.strip() == SAID and answer.choices[0].finish_reason == "stop"
        assert [source.title for source in answer.sources] == ["Lease", "Jonas"] and answer.sources[0].highlight
        assert (answer.model, answer.object, answer.kind) == ("parrot", "chat.completion", "generated")
        entry = llm.witness.get(answer.request)
        assert (entry.session_id, entry.generated.completion_tokens) == ("s", answer.usage.completion_tokens)
        assert entry.user_id == llm.sessions.get("s").user_id == "ann"
        with pytest.raises(ConfigError, match="'ann', not to 'bob'"):
            await chat.completions.create(**{**options, "user": "bob"})
        told = llm.models.model.tokenizer.decode(llm.models.model.runner.history)
        assert "softly." in told and "Hello.\n" in told and told.count("Hello") == 2

        chunks = [chunk async for chunk in await chat.completions.create(**options, stream=True)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer.choices[0].message.content
        assert chunks[0].choices[0].delta.role == "assistant" and len(chunks[0].sources) == 2
        assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens and chunks[-1].sources[0].highlight


class GeneratedFromFilesContract(GeneratedContract):
    """Of GGUF files; ``load`` is given by a fixture ``as_file``: ``(bytes) -> what models.load takes for a file``."""

    @pytest.fixture
    def load(self, as_file):
        return lambda llm, name: llm.models.load(as_file(scripted_model(**SCRIPTED[name], name=name)))

    async def test_what_a_conversation_left_in_the_model_is_kept_and_forgotten_with_it(self, ready):
        llm = await ready("parrot")
        await llm.ask(QUESTION, session="s")
        caches = llm.models.model.caches
        assert caches.tier("s") == "hot" and len(caches.find("s")) > 20
        caches.freeze("s")
        assert caches.tier("s") == "cold" and llm.sessions.get("s").kv_cache_ref.tier == "cold"
        await llm.ask(QUESTION, session="s")
        assert caches.hits["cold"] == 1
        await llm.forget(session="s")
        assert caches.tier("s") == "gone" and llm.memory.driver.query("SELECT count(*) FROM kv_pages") == [(0,)]
        assert caches.cache.store.pages == 0

    async def test_what_the_memory_holds_draws_on_the_pool_of_the_conversations(self, ready):
        llm = await ready("parrot")
        held = llm.pool.pool.report()["kinds"]
        assert held["index"] == sum(collection.index.nbytes for collection in llm.memory.collections()) > 0
        await llm.remember("A note.\n\nAnd another one, of something else.", title="More")
        await llm.flush()
        held = llm.pool.pool.report()["kinds"]
        assert held["index"] == sum(collection.index.nbytes for collection in llm.memory.collections())
        assert llm.pool.pool.used <= llm.pool.pool.budget

    async def test_what_is_in_use_is_told_with_a_model_and_without(self, ready, load):
        llm = await ready()
        before = llm.in_use()
        assert (before["pool"], before["caches"], before["model"]) == (None, None, None)
        assert 0 < before["kinds"]["index"] <= before["used"] == sum(before["kinds"].values()) and before["budget"] > 0
        await load(llm, "parrot")
        await llm.ask(QUESTION, session="s")
        told = llm.in_use()
        assert told["pool"] == llm.pool.pool.report() and told["caches"] == llm.models.model.caches.report()
        assert told["used"] == sum(told["kinds"].values()) <= told["budget"] == llm.pool.pool.budget
        assert [each["session"] for each in told["caches"]["live"]] == ["s"] and told["model"]["context"] == llm.models.loaded.context
        json.dumps(told)
        await llm.models.unload()
        assert llm.pool is None and llm.in_use()["caches"] is None

    async def test_the_weights_of_the_router_draw_on_the_pool(self, ready):
        llm = await ready("parrot")
        assert llm.in_use()["kinds"]["router"] == 0, "the stated default has none"
        weights = {"cell_weights": {"w": [[0.5, 1.0], [2.0, 3.0]], "b": [0.0]}, "head_biases": {"model": [0.1, 0.2]}}
        fallback = dict(llm.policies.latest("router").parameters["fallback"])
        llm.policies.put(PolicyEntry("router", {"fallback": fallback, **weights}, "background_loop"))
        before = llm.pool.pool.used
        await llm.flush()
        assert llm.pool.pool.report()["kinds"]["router"] == 7 * NUMBER == llm.pool.pool.used - before

    async def test_the_budget_follows_the_pressure_and_conversations_what_it_leaves(self, ready):
        llm = await ready("parrot")
        for id in ("first", "second"):
            await llm.ask(QUESTION, session=id)
        caches, pool, whole = llm.models.model.caches, llm.pool.pool, llm.pool.pool.budget
        assert llm.under_pressure("serious") == pool.budget < whole
        assert llm.pool.follower.least <= llm.under_pressure("critical") == pool.budget <= whole // 2
        assert pool.used <= pool.budget and llm.in_use()["pressure"] == "critical"
        assert whole - pool.charged - UNIT <= llm.under_pressure("nominal") == pool.budget <= whole
        with pytest.raises(ConfigError, match="'grave'"):
            llm.under_pressure("grave")

        assert {caches.find(id).setting.old for id in ("first", "second")} == {"q8"}
        exact = dict(llm.policies.latest("quantization").parameters) | {"precision": "fp16"}
        llm.policies.put(PolicyEntry("quantization", exact, "instant_loop"))
        for _ in range(2):  # one is converted at least each time, and on a slow machine no more
            await llm.flush()
        assert {caches.find(id).setting.old for id in ("first", "second")} == {"f16"}, "the policy changed, and they were kept by it"
        assert llm.models.model.caches is caches and caches.hits["gone"] == 2

    async def test_what_has_answered_is_pinned_no_more(self, ready):
        llm = await ready("parrot")
        await llm.ask(QUESTION, session="s")
        pool, holding, whole = llm.pool.pool, llm.models.model.caches.find("s").holding, llm.pool.pool.budget
        assert not pool.pinned(holding) and holding.bytes
        pool.resize(pool.used - 10_000)
        assert llm.models.model.caches.tier("s") == "cold" and pool.evictions[-1].saved and pool.evictions[-1].reason == "budget"
        pool.resize(whole)
        await llm.ask(QUESTION, session="s")
        assert llm.models.model.caches.hits["cold"] == 1

    async def test_memory_that_ends_in_an_answer_makes_the_pool_small(self, ready, monkeypatch):
        llm = await ready("parrot")
        whole = llm.pool.pool.budget
        for error, pressure in ((PoolFullError("it is full"), "nominal"), (MemoryError("it ended"), "critical")):

            def ended(*_, error=error, **__):
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(type(llm.models.model.runner), "read", ended)
                answer = await llm.ask(QUESTION, session="s")
            assert answer.kind == "extractive" and f"could not answer ({error})" in answer.notes[0]
            await llm.flush()
            assert llm.in_use()["pressure"] == pressure
        assert llm.pool.pool.budget < whole
        assert (await llm.ask(QUESTION, session="s")).kind == "generated"

    async def test_a_conversation_is_answered_with_its_adapter_where_the_model_has_it(self, ready):
        llm = await ready("parrot")
        model = llm.models.model
        missing = "The adapter 'legal' of this conversation is not loaded: the model answered without it."
        await llm.ask(QUESTION, session="s")
        llm.sessions.switch_adapter("s", "legal")
        assert missing in (await llm.ask(QUESTION, session="s")).notes
        assert model.caches.find("s").identity == model.adapters.base
        model.adapters.load("legal", lora_for(model.runner.parts))
        answer = await llm.ask(QUESTION, session="s")
        assert answer.kind == "generated" and missing not in answer.notes
        assert model.caches.find("s").identity == model.adapters.identity("legal") != model.adapters.base
        await llm.ask(QUESTION, session="other")
        assert model.caches.find("other").identity == model.adapters.base

    async def test_unloading_in_the_middle_of_an_answer_gives_memory_back(self, ready, as_file):
        llm = await ready()
        big = scripted_model(["again", " and "], loop=True, layers=8)
        sizes = []
        for _ in range(3):
            loaded = await llm.models.load(as_file(big))
            task = asyncio.ensure_future(llm.ask(QUESTION, generation=GenerationConfig(max_tokens=100_000)))
            while not (llm.models._writing and llm.models._writing.text):
                await asyncio.sleep(0)
            await llm.models.unload()
            await task
            sizes.append(self.taken(llm))
        assert loaded.nbytes > 8_000_000 and sizes[-1] - sizes[1] < loaded.nbytes / 4, sizes

    @staticmethod
    def taken(llm):
        """Bytes of the memory that the kernels see; it never shrinks, so what is given back is used again."""
        memory = llm.kernels.memory
        return memory._end if memory.name == "arena" else current().memory_bytes()

    async def test_a_file_that_is_no_model_leaves_the_loaded_one(self, ready, as_file):
        llm = await ready("parrot")
        for wrong, error in ((b"PK\3\4" + bytes(100), GgufError), (scripted_model(SCRIPT)[:-2000], GgufError)):
            with pytest.raises(error):
                await llm.models.load(as_file(wrong))
        assert llm.models.loaded.name == "parrot" and (await llm.ask(QUESTION)).kind == "generated"
        with pytest.raises(NotFoundError, match="the catalogue has no model 'nothing'"):
            await llm.models.load("nothing")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"messages": []},
            {"messages": [{"role": "assistant", "content": "x"}]},
            {"messages": [{"role": "user", "content": 7}]},
            {"n": 2},
            {"model": "gpt-5"},
            {"tools": []},
            {"top_k": -1},
            {"top_p": 0},
            {"min_p": 2},
            {"seed": 1.5},
            {"max_tokens": 0},
            {"max_completion_tokens": 0},
            {"stop": [""]},
            {"stop": 7},
            {"repetition_penalty": 0},
            {"frequency_penalty": 11},
            {"max_tokens": -1},
            {"temperature": -1},
        ],
    )
    async def test_what_chat_completions_cannot_do_is_refused(self, open_llm, wrong):
        llm = await open_llm()
        with pytest.raises(ConfigError):
            await MemoryChat(llm).completions.create(**{"messages": [{"role": "user", "content": "x"}], **wrong})
