"""How often the model that ships with the package is right: on questions it has never seen, and on the sample notebook.

    ./build.sh bench small_model [--model FILE] [--kinds f32,q8_0,q4_0] [--questions 200]

Held-out questions are of forms, verbs and made-up names that training never had (tests/generators/held_out_questions.json). The notebook
was in no training text; its questions go through recall, the prompt and the decoder as anyone's would. kinds: the same numbers, rounded to
another kind first. Greedy. Exits with 1 where the shipped file is right less often than BOUND says.
"""

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyruvllm
from pyruvllm.config import Clock, GenerationConfig
from pyruvllm.memory.kernels import open_registry
from pyruvllm.models import builtin
from pyruvllm.models.catalog import BUILT_IN
from pyruvllm.models.language import LanguageModel
from pyruvllm.models.prompt import NOTHING, grounded_prompt
from pyruvllm.models.sampling import Sampling
from pyruvllm.storage import open_driver
from tests.bench.report import report
from tests.generators.decoders import rounded
from tests.generators.questions import HELD_OUT, NOTEBOOK, split

BOUND = 0.4
RECALLED = 3  # passages
GREEDY = GenerationConfig(temperature=0)
NOTES = Path(__file__).parents[2] / "web" / "public" / "samples" / "notebook.md"


@dataclass
class Score:
    """Counts of questions: asked that have an answer, span right, number right, both; asked that have none, refused."""

    asked: int = 0
    spans: int = 0
    numbers: int = 0
    both: int = 0
    unanswerable: int = 0
    refused: int = 0

    def told(self) -> dict[str, float]:
        answered, none = max(1, self.asked), max(1, self.unanswerable)
        rates = {"answer right": self.spans / answered, "number right": self.numbers / answered, "both right": self.both / answered}
        return {name: round(value, 3) for name, value in (rates | {"refused where nothing answers": self.refused / none}).items()}


async def answer(model, question, passages):
    return (await model.chat(grounded_prompt(question, passages), Sampling(temperature=0), max_tokens=48).text()).strip()


async def held_out(model, count) -> Score:
    score = Score()
    for asked in HELD_OUT[:count]:
        said = await answer(model, asked["question"], asked["passages"])
        span, number = split(said)
        if asked["number"]:
            score.asked += 1
            score.spans += span == asked["answer"]
            score.numbers += number == asked["number"]
            score.both += span == asked["answer"] and number == asked["number"]
        else:
            score.unanswerable += 1
            score.refused += said == NOTHING
    return score


async def notebook(source, say) -> Score:
    score = Score()
    llm = await pyruvllm.open(":memory:")
    try:
        await llm.remember(NOTES.read_text(), title="Marta's notebook", media_type="text/markdown")
        await llm.models.load(source)
        for question, wanted in NOTEBOOK:
            answered = await llm.ask(question, k=RECALLED, generation=GREEDY)
            said, notes = answered.text.strip(), {source.number: source.text.lower() for source in answered.sources}
            span, number = split(said)
            say(f"    {question}  ->  {said}")
            if wanted:
                right, cited = wanted.lower() in span.lower(), wanted.lower() in " ".join(notes.get(number, "").split())
                score.asked += 1
                score.spans += right
                score.numbers += cited
                score.both += right and cited
            else:
                score.unanswerable += 1
                score.refused += said == NOTHING
    finally:
        await llm.close()
    return score


async def main(options) -> int:
    driver = await open_driver(":memory:")
    kernels = await open_registry(driver, Clock())
    await driver.close()
    file = options.model.read_bytes() if options.model else builtin.data()
    figures, lowest = {}, 1.0
    for kind in [None, *filter(None, options.kinds.split(","))]:
        model = LanguageModel(rounded(file, kind) if kind else file, kernels)
        begun = time.perf_counter()
        score = await held_out(model, options.questions)
        label = kind or "as it is"
        figures |= {f"{label}: held out, {name}": value for name, value in score.told().items()}
        figures[f"{label}: held out, s a question"] = round((time.perf_counter() - begun) / max(1, len(HELD_OUT[: options.questions])), 3)
        if kind is None:
            lowest = score.both / max(1, score.asked)
            told = (await notebook(str(options.model or BUILT_IN), print)).told()  # noqa: T201
            figures |= {f"{label}: notebook, {name}": value for name, value in told.items()}
    report("small_model", figures)
    return int(lowest < BOUND)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--kinds", default="f32,q4_0")
    parser.add_argument("--questions", type=int, default=200)
    sys.exit(asyncio.run(main(parser.parse_args())))
