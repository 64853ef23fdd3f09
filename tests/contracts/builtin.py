"""The model that ships with the package, on any host: the file is what its description says, what it says is always the same, it is right
about questions that it has never seen as often as was measured, and it answers in a memory.

Bound by a fixture ``kernels``: a KernelRegistry. tests/generators/small_answers.py writes what it says.
"""

import hashlib
import json
from pathlib import Path

import pytest

from pyruvllm.config import Config, GenerationConfig
from pyruvllm.memory.unified import UnifiedMemory
from pyruvllm.models import builtin
from pyruvllm.models.generative import sampling
from pyruvllm.models.grounding import ground
from pyruvllm.models.language import LanguageModel
from pyruvllm.runtime import RuvLLM
from pyruvllm.storage import open_driver
from pyruvllm.types import Hit, Why
from tests.contracts.stores import WordEmbedder
from tests.generators.questions import HELD_OUT
from tests.generators.small_answers import ASKED, GREEDY, NOTES, SAMPLED, is_right, notes, said

GOLDEN = json.loads(Path(__file__).with_name("small_answers.json").read_text())
LESS = 2  # answers of those measured that another host's kernels may round to something else


class BuiltinContract:
    @pytest.fixture
    def model(self, kernels):
        if not hasattr(kernels, "small_model"):  # once for all tests
            kernels.small_model = LanguageModel(builtin.data(), kernels)
        return kernels.small_model

    def test_the_file_is_the_one_that_is_described(self):
        about, data = builtin.about(), builtin.data()
        assert (about["bytes"], about["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert GOLDEN["sha256"] == about["sha256"] and len(data) <= 8_000_000

    @pytest.mark.parametrize("question", GOLDEN["greedy"])
    async def test_greedy_answers_are_golden(self, model, question):
        assert await said(model, question, notes(question), GREEDY) == GOLDEN["greedy"][question]

    @pytest.mark.parametrize("question", GOLDEN["sampled"])
    async def test_sampled_answers_are_golden(self, model, question):
        assert await said(model, question, notes(question), SAMPLED) == GOLDEN["sampled"][question]

    async def test_questions_it_has_never_seen(self, model):
        right = sum([await is_right(model, asked) for asked in HELD_OUT[:ASKED]])
        assert right >= GOLDEN["right"] - LESS > 0

    def test_it_is_told_a_heading_once(self, model):
        lease = Hit("1", "documents", "## Lease\n\nIt ends on 31 January 2029.", {"heading": "Lease", "title": "Notes"}, 1.0, Why())
        prompt = model.tokenizer.decode(ground(model, "When does it end?", [lease], [], 900).ids)
        assert "\n[1] Lease: It ends on 31 January 2029.\n" in prompt

    async def test_it_answers_in_a_memory(self, kernels):
        driver = await open_driver(":memory:")
        llm = RuvLLM(await UnifiedMemory.open(driver, WordEmbedder(), Config()), kernels)
        try:
            for heading, text in NOTES:
                await llm.remember(text, title=heading)
            loaded = await llm.models.load("built-in")
            assert (loaded.id, loaded.name) == ("built-in", builtin.about()["title"])
            metadata, routing = llm.models.model.metadata, llm.router.route()
            assert sampling(GenerationConfig(), routing, metadata).temperature == 0 < routing.temperature
            assert sampling(GenerationConfig(temperature=0.4), routing, metadata).temperature == 0.4
            assert sampling(GenerationConfig(), routing, {}).temperature == routing.temperature
            answer = await llm.ask("When does the passport expire?")
            assert answer.kind == "generated" and answer.text.strip() and answer.generated.model == loaded.name
        finally:
            await llm.close()
