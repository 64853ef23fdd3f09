"""Writes tests/contracts/small_answers.json: what the model that ships with the package says, as its tests hold it to.

    .venv/bin/python -m tests.generators.small_answers

Its own words, to be looked at before they are committed; that its numbers are right is what the oracle is for.
"""

import asyncio
import json
from pathlib import Path

from pyruvllm.models.prompt import NOTHING, grounded_prompt
from pyruvllm.models.sampling import Sampling
from tests.generators.questions import HELD_OUT, split

GREEDY, SAMPLED = Sampling(temperature=0), Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=3)
NOTES = (
    ("Lease of the workshop", "The lease of the workshop ends on 31 January 2029."),
    ("Passport", "The passport expires on 14 July 2027."),
    ("Jonas", "Jonas is allergic to hazelnuts and walnuts."),
)
QUESTIONS = {  # and the notes of NOTES that are given with each
    "When does the lease of the workshop end?": (0,),
    "When does the passport expire?": (1,),
    "What is Jonas allergic to?": (2,),
    "Who owns the boat?": (0, 1, 2),
}
ASKED = 32  # of the held-out questions, in tests


def notes(question: str) -> list[tuple[str, str]]:
    return [NOTES[place] for place in QUESTIONS[question]]


async def said(model, question, passages, sampling) -> str:
    return (await model.chat(grounded_prompt(question, passages), sampling, max_tokens=48).text()).strip()


async def is_right(model, asked) -> bool:
    """Whether the words and the number are, or that nothing answers."""
    answer = await said(model, asked["question"], asked["passages"], GREEDY)
    return split(answer) == (asked["answer"], asked["number"]) if asked["number"] else answer == NOTHING


async def main(out: Path) -> None:
    from pyruvllm.config import Clock
    from pyruvllm.memory.kernels import open_registry
    from pyruvllm.models import builtin
    from pyruvllm.models.language import LanguageModel
    from pyruvllm.storage import open_driver

    driver = await open_driver(":memory:")
    model = LanguageModel(builtin.data(), await open_registry(driver, Clock()))
    await driver.close()
    told = {"sha256": builtin.about()["sha256"]}
    told["greedy"] = {question: await said(model, question, notes(question), GREEDY) for question in QUESTIONS}
    told["sampled"] = {question: await said(model, question, notes(question), SAMPLED) for question in QUESTIONS}
    told["right"] = sum([await is_right(model, asked) for asked in HELD_OUT[:ASKED]])
    out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(__file__).parents[1] / "contracts" / "small_answers.json"))
