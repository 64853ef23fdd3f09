"""What guessing ahead gives: tokens/s with it and without, natively and in Chromium, one thread.

    ./build.sh bench speculation [--size 350M] [--draft 350M] [--kind q4_0] [--tokens 96] [--times 3] [--shares 0,0.5,0.8,1]
                                 [--questions 100] [--host native|chromium]

A model of true shape with random weights says nothing that could be guessed. Here it works as it does and then says a text that is given
to it (``Told``), so that it is known how many guesses are right. An oracle that costs nothing shows what checking costs and when guessing
stops; with --draft a model of that size is at work for each guess. Prompt look-up guesses for a text that repeats its prompt with a change
every now and then, and for one that does not. The model that comes with the package answers held-out questions, with look-up and with
drafts made of its own file. Each is measured against the same text without guesses, said in turn with it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyruvllm.models import builtin
from pyruvllm.models.gguf import read_head
from pyruvllm.models.tokenizer import load
from tests.bench import hosts
from tests.bench.hosts import file_at
from tests.bench.report import report
from tests.e2e.browser import DIST, serving
from tests.generators.decoders import LFM2, first_layers, lfm2_of_true_shape, rounded
from tests.generators.questions import HELD_OUT

PROMPT = 64  # tokens
NOTES = Path(__file__).parents[2] / "web" / "public" / "samples" / "notebook.md"


class Told:
    """A runner at work on a text, whose logits then are those of one that is sure of the text."""

    def __init__(self, runner, text):
        self.runner, self.text = runner, text

    def __getattr__(self, name):
        return getattr(self.runner, name)

    async def read(self, ids, pace, every=False):
        logits = await self.runner.read(ids, pace, every)
        for back, row in enumerate(reversed(logits)):
            row[self.text[min(self.runner.position - back, len(self.text) - 1)]] = 1e9
        return logits


class Oracle:
    name = "oracle"

    def __init__(self, text):
        self.text = text

    def begin(self):
        pass

    def behind(self, ids):
        return 0

    async def draft(self, ids, count, choose, pace):
        return self.text[len(ids) : len(ids) + count]


async def said(speaker, tokenizer, text, prompt, guesser):
    """The usage of saying the text after its first tokens."""
    from pyruvllm.models.generate import generate
    from pyruvllm.models.sampling import Sampling

    speaker.reset()
    stream = generate(speaker, tokenizer, text[:prompt], Sampling(temperature=0), max_tokens=len(text) - prompt, guesser=guesser)
    await stream.text()
    assert stream.ids == text[prompt:], "the text is another with guesses"
    return stream.usage


def summed(usages):
    """Of some texts: tokens/s after the first token of each, what was guessed, and what is said of it."""
    told = [guesses for usage in usages for guesses in usage.guesses]
    drafted, accepted, rounds = (sum(getattr(each, name) for each in told) for name in ("drafted", "accepted", "rounds"))
    ms = sum(usage.completion_ms for usage in usages)
    return {
        "tokens": sum(usage.completion_tokens for usage in usages),
        "tokens/s": sum(usage.completion_tokens - 1 for usage in usages) * 1000 / ms,
        "guesses right, %": 100 * accepted / drafted if drafted else None,
        "rounds": rounds,
        "guesses a round": drafted / rounds if rounds else None,
        "it rests": next((each.off for each in reversed(told) if each.off), None),
    }


async def of_true_shape(given):
    import numpy as np

    from pyruvllm.config import Clock
    from pyruvllm.memory.kernels import open_registry
    from pyruvllm.models.language import LanguageModel
    from pyruvllm.models.speculative import DraftModel, Guesser, PromptLookup
    from pyruvllm.storage import open_driver

    driver = await open_driver(":memory:")
    registry = await open_registry(driver, Clock())
    prompt, texts, room = given["prompt"], given["texts"], given["context"]
    model = await LanguageModel.load(await file_at(given["file"]), registry, context=room)
    small = await LanguageModel.load(await file_at(given["draft"]), registry, context=room) if given["draft"] else None

    new, random = texts["new"], np.random.default_rng(0)
    ways = {}  # text, who guesses, what knows the text as it guesses it, and how often that is right
    for share in given["shares"]:
        oracle = Oracle(new)
        ways[f"oracle, {share:.0%} right"] = new, oracle, oracle, share
        if small:
            knows = Told(small.drafting(), new)
            ways[f"draft model, {share:.0%} right"] = new, DraftModel(knows), knows, share
    ways |= {f"look-up, {name}": (text, PromptLookup(), None, 0) for name, text in texts.items()}
    figures = {}
    for name, (text, drafter, knows, share) in ways.items():
        speaker, guesser = Told(model.runner, text), Guesser([drafter], Clock())
        usages, without = [], []
        for _ in range(given["times"]):
            if knows:
                knows.text = [id + int(miss) for id, miss in zip(text, random.random(len(text)) >= share, strict=True)]
            without.append(await said(speaker, model.tokenizer, text, prompt, None))
            usages.append(await said(speaker, model.tokenizer, text, prompt, guesser))
        figures[name] = {**summed(usages), "without, tokens/s": summed(without)["tokens/s"]}
    await driver.close()
    return figures


async def of_the_package(given):
    from pyruvllm.config import Clock
    from pyruvllm.memory.kernels import open_registry
    from pyruvllm.models import builtin
    from pyruvllm.models.language import LanguageModel
    from pyruvllm.models.prompt import grounded_prompt
    from pyruvllm.models.sampling import Sampling
    from pyruvllm.models.speculative import DraftModel, Guesser, PromptLookup
    from pyruvllm.storage import open_driver

    driver = await open_driver(":memory:")
    registry = await open_registry(driver, Clock())
    model = LanguageModel(builtin.data(), registry, context=1024)
    drafters = {"look-up": PromptLookup()}
    for name, file in given["drafts"].items():
        small = await LanguageModel.load(await file_at(file), registry, context=1024)
        drafters[f"draft of {name}"] = DraftModel(small.drafting())
    guessers = {name: Guesser([drafter], Clock()) for name, drafter in drafters.items()}
    usages = {name: [] for name in ("without", *guessers)}
    texts = [model.chat_ids(grounded_prompt(asked["question"], asked["passages"])) for asked in given["questions"]]
    for ids in texts:
        model.runner.reset()
        stream = model.generate(ids, Sampling(temperature=0), max_tokens=48, speculate=False)
        await stream.text()
        for name, each in usages.items() if len(stream.ids) > 1 else ():
            each.append(await said(model.runner, model.tokenizer, [*ids, *stream.ids], len(ids), guessers.get(name)))
    await driver.close()
    return {name: {**summed(each), "without, tokens/s": summed(usages["without"])["tokens/s"]} for name, each in usages.items()}


PARTS = (file_at, Told, Oracle, said, summed)


def run(host: str, measure: hosts.Measure, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """given: files are names in the folder."""
    if host == "native":
        return asyncio.run(measure(given))
    with serving(DIST, folder) as address, hosts.blank_page(address) as page:
        return json.loads(page.evaluate(hosts.START, [hosts.source(measure, *PARTS), json.dumps(given)]))


def texts(tokens: int) -> dict[str, list[int]]:
    """Tokens of a prompt and what follows it: the notebook's own words, and its first ones again with every twentieth changed."""
    tokenizer = load(read_head(builtin.data()).metadata)
    ids = [300 + id for id in tokenizer.encode(NOTES.read_text())]  # none that ends a text in the model of true shape
    again = [id + (place % 20 == 19) for place, id in enumerate(ids[:PROMPT])]
    return {"new": ids[: PROMPT + tokens], "repeats": (ids[:PROMPT] + again * (1 + tokens // PROMPT))[: PROMPT + tokens]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=LFM2, default="350M")
    parser.add_argument("--draft", choices=LFM2, help="size of a model that is at work for the guesses")
    parser.add_argument("--kind", default="q4_0")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--times", type=int, default=3, help="that each text is said")
    parser.add_argument("--questions", type=int, default=100, help="of the model that comes with the package")
    parser.add_argument("--shares", default="0,0.5,0.8,1", help="of guesses, that are right where those before were")
    parser.add_argument("--host", choices=("native", "chromium"))
    options = parser.parse_args()
    length = f"prompt {PROMPT}, {options.times} x {options.tokens} tokens, one thread"
    figures: dict[str, object] = {"model": f"LFM2-{options.size} {options.kind}, {length}"}
    with tempfile.TemporaryDirectory(prefix="pyruvllm-bench-") as name:
        folder = Path(name)
        for size in {options.size, options.draft} - {None}:
            with (folder / f"{size}.gguf").open("wb") as file:
                lfm2_of_true_shape(size, options.kind, file.write)
        drafts = {"its first 4 layers": first_layers(builtin.data(), 4), "itself in Q4_0": rounded(builtin.data(), "q4_0")}
        for place, file in enumerate(drafts.values()):
            (folder / f"{place}.gguf").write_bytes(file)
        given = {"prompt": PROMPT, "texts": texts(options.tokens), "context": PROMPT + options.tokens + 16, "times": options.times}
        given["shares"] = [float(share) for share in options.shares.split(",")]
        for host in [host for host in ("native", "chromium") if options.host in (None, host)]:
            at = (lambda name: str(folder / name)) if host == "native" else str
            files = {"file": at(f"{options.size}.gguf"), "draft": options.draft and at(f"{options.draft}.gguf")}
            found = run(host, of_true_shape, folder, {**given, **files})
            if options.questions:
                small = {"drafts": {name: at(f"{place}.gguf") for place, name in enumerate(drafts)}}
                told = run(host, of_the_package, folder, {**small, "questions": HELD_OUT[: options.questions]})
                found |= {f"built-in model, {name}": each for name, each in told.items()}
            for name, each in found.items():
                each["times as fast"] = each["tokens/s"] / each["without, tokens/s"]
                shown = {key: round(value, 2) if isinstance(value, float) else value for key, value in each.items() if value is not None}
                figures |= {f"{host}: {name}: {key}": value for key, value in shown.items()}
                print(host, name, shown, file=sys.stderr, flush=True)  # noqa: T201
    report("speculation", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
