"""What quantised keys and values cost: perplexity and logits of every setting beside all of float16.

    ./build.sh bench cache_quality [--model FILE.gguf] [--text FILE] [--tokens 560] [--prompts 128] [--random]

The model that comes with the package, on what it was made for: prompts of notes and a question, up to --tokens long, half of them held-out
questions and half the sample notebook's; perplexity is of the right answers behind them, token by token. With the tail of the product (256
newest tokens in float16) and with a short one (32), so that most of a prompt is old. Another model is measured on --text, or on
what it draws itself. Keys are also quantised by token for comparison, which is what KIVI (arXiv:2402.02750) found to be worse. --random:
small models with random weights beside it. Exits with 1 where the default costs BOUND or more.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import numpy as np

from pyruvllm.cache import EXACT, Setting
from pyruvllm.cache.layout import PAGE
from pyruvllm.cache.quantize import TAIL
from pyruvllm.config import Clock
from pyruvllm.memory.kernels import open_registry
from pyruvllm.models import builtin
from pyruvllm.models.language import LanguageModel
from pyruvllm.models.prompt import grounded_prompt
from pyruvllm.models.sampling import Sampler, Sampling
from pyruvllm.storage import open_driver
from tests.bench.report import report
from tests.generators.decoders import model_file
from tests.generators.questions import HELD_OUT, NOTEBOOK

BOUND = 0.2  # % of perplexity that the default may cost
SHORT = 32  # tokens of tail, so that old ones matter
FIRST = 64  # tokens before the first that is judged
DEFAULT = "q8 (the default)"
SETTINGS = {
    DEFAULT: {"old": "q8"},
    "q8, rotated": {"old": "q8", "rotate": True},
    "q8q4": {"old": "q8q4"},
    "q8q4, rotated": {"old": "q8q4", "rotate": True},
    "q4": {"old": "q4"},
    "q4, rotated": {"old": "q4", "rotate": True},
}
NOTES = Path(__file__).parents[2] / "web" / "public" / "samples" / "notebook.md"


async def opened():
    driver = await open_driver(":memory:")
    try:
        return await open_registry(driver, Clock())
    finally:
        await driver.close()


def logits_of(runner, setting, ids, first, by_token=None):
    """(tokens, vocabulary) of what comes before each from ``first`` on, and how many tokens were old at the end."""
    runner.use(runner.begin(setting=setting))
    runner.feed(ids[: first - 1])  # in blocks: what becomes old is old for what follows it
    found = []
    for id in ids[first - 1 : -1]:
        if by_token is not None:
            by_token(runner)
        found.append(runner.feed([id]).astype(np.float64))
    old = runner.sequence.old_tokens
    runner.cache.release(runner.sequence)
    return np.array(found), old


def nats(logits, targets):
    """Of each target."""
    top = logits.max(1)
    return top + np.log(np.exp(logits - top[:, None]).sum(1)) - logits[np.arange(len(logits)), targets]


def keys_by_token(runner, levels=15):
    """Keys of old pages as they would be were they quantised by token: for comparison, in place, once for each page."""
    store, seen = runner.cache.store, runner.__dict__.setdefault("by_token", set())
    for page in runner.sequence.tail[: -SHORT // PAGE - 1]:
        if page in seen:
            continue
        seen.add(page)
        for layer, (keys_at, _) in page.layout.places.items():
            heads, dim = store.form.kv_heads[layer], store.form.dim
            keys = store.view(page)[keys_at : keys_at + 2 * heads * dim * PAGE].view(np.float16).reshape(heads, dim, PAGE)
            low, high = keys.min(1, keepdims=True), keys.max(1, keepdims=True)
            step = np.maximum((high - low).astype(np.float32) / levels, 1e-12)
            keys[...] = low + step * np.rint((keys - low) / step)


def drawn(runner, count, seed):
    """Text that the model says."""
    runner.use(runner.begin(setting=EXACT))
    sampler, ids = Sampler(Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=seed)), [1]
    logits = runner.feed(ids)
    while len(ids) < count:
        ids.append(sampler.choose(logits))
        logits = runner.feed(ids[-1:])
    runner.cache.release(runner.sequence)
    return ids


def prompts(model, count, length):
    """(ids, where the answer begins): held-out questions and the notebook's in turn, each among as many notes as there is room for."""
    sections = [part.partition("\n\n") for part in NOTES.read_text().split("\n## ")[2:]]
    notes = [(title.strip(), text.strip()) for title, _, text in sections]
    known = [(title, text) for asked in HELD_OUT for title, text in asked["passages"]]
    held = [(asked["question"], asked["answer"], asked["passages"][asked["number"] - 1]) for asked in HELD_OUT if asked["number"]]
    from_notes = [(question, wanted, next(note for note in notes if wanted in note[1])) for question, wanted in NOTEBOOK if wanted]
    end = model.tokenizer.encode("<|im_end|>", special=True)
    found = []
    for number in range(count):
        asked, others = ((held, known), (from_notes, notes))[number % 2]
        question, answer, right = asked[number // 2 % len(asked)]
        random = np.random.default_rng(number)
        passages, place = [tuple(right)], 0
        for other in random.permutation(len(others)):
            more = [*passages, tuple(others[other])]
            random.shuffle(more)
            if tuple(others[other]) in passages or len(model.chat_ids(grounded_prompt(question, more))) > length:
                continue
            passages = more
        place = passages.index(tuple(right)) + 1
        ids = model.chat_ids(grounded_prompt(question, passages))
        found.append(([*ids, *model.tokenizer.encode(f" {answer} [{place}]"), *end], len(ids)))
    return found


def compared(name, runner, texts):
    """Figures, and by tail what the default costs in % of perplexity."""
    figures, costs, plain = {}, {}, [logits_of(runner, EXACT, ids, first)[0] for ids, first in texts]
    targets = [np.array(ids[first:]) for ids, first in texts]
    tokens = sum(len(ids) for ids, _ in texts)
    base = np.concatenate([nats(logits, of) for logits, of in zip(plain, targets, strict=True)])
    figures[f"{name}: texts; tokens of each; judged"] = f"{len(texts)}; {tokens // len(texts)}; {len(base)}"
    figures[f"{name}: perplexity in float16"] = round(float(np.exp(base.mean())), 4)
    spread = float(np.concatenate(plain).std())
    cases = [(f"{label}, tail {tail}", Setting(tail, **how), None) for tail in (TAIL, SHORT) for label, how in SETTINGS.items()]
    cases += [("keys by token, 8 bits", EXACT, lambda r: keys_by_token(r, 255)), ("keys by token, 4 bits", EXACT, keys_by_token)]
    for label, setting, by_token in cases:
        found, old = [], 0
        for ids, first in texts:
            runner.__dict__.pop("by_token", None)
            logits, aged = logits_of(runner, setting, ids, first, by_token)
            found.append(logits)
            old += aged
        each = np.concatenate([nats(logits, of) for logits, of in zip(found, targets, strict=True)])
        change = 100 * float(np.exp(each.mean() - base.mean()) - 1)
        error = 100 * float((each - base).std() / np.sqrt(len(base)))
        both = np.concatenate(found), np.concatenate(plain)
        apart, same = np.sqrt(np.mean((both[0] - both[1]) ** 2)) / spread, 100 * float(np.mean(both[0].argmax(1) == both[1].argmax(1)))
        told = f"perplexity {change:+.3f} % (± {error:.3f}), logits {100 * apart:.2f} % apart, same first choice {same:.1f} %"
        figures[f"{name}: {label}"] = told + (f", {100 * old // tokens} % of the tokens old" if setting.old != "f16" else "")
        if label.startswith(DEFAULT):
            costs[label] = change
    return figures, costs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--tokens", type=int, default=560)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--random", action="store_true")
    options = parser.parse_args()
    kernels = asyncio.run(opened())
    figures: dict[str, object] = {}
    model = LanguageModel(
        np.memmap(options.model, np.uint8, "r") if options.model else builtin.data(), kernels, context=options.tokens + 64
    )
    if options.text:
        ids = model.tokenizer.encode(options.text.read_text(), bounds=True)
        cut = range(0, len(ids) - options.tokens + 1, options.tokens)
        texts = [(ids[at : at + options.tokens], FIRST) for at in cut][: options.prompts]
    elif options.model:
        texts = [(drawn(model.runner, options.tokens, seed), FIRST) for seed in range(options.prompts)]
    else:
        texts = prompts(model, options.prompts, options.tokens)
    told, costs = compared(options.model.stem if options.model else "built-in", model.runner, texts)
    figures |= told
    for architecture in ("lfm2", "llama") if options.random else ():
        file = model_file(architecture, hidden=256, feed_forward=384, heads=4, seed=4)
        runner = LanguageModel(file, kernels, context=options.tokens).runner
        figures |= compared(f"random {architecture}, heads of 64", runner, [(drawn(runner, options.tokens, 1), FIRST)])[0]
    worst = max(costs, key=costs.__getitem__)
    figures[f"the default costs less than {BOUND} % of perplexity"] = (
        f"{'yes' if costs[worst] < BOUND else 'NO'}: {worst}, {costs[worst]:+.3f} %"
    )
    report("cache_quality", figures)
    return int(not costs[worst] < BOUND)


if __name__ == "__main__":
    sys.exit(main())
