"""What quantised keys and values cost: perplexity and logits of every setting beside all of float16.

    ./build.sh bench cache-quality [--model FILE.gguf] [--text FILE] [--tokens 512]

Without a model: small ones with random weights, on text that they drew themselves, so that their perplexity means something. Keys are
also quantised by token for comparison, which is what KIVI (arXiv:2402.02750) found to be worse.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import numpy as np

from pyruvllm.cache import EXACT, Setting
from pyruvllm.cache.layout import PAGE
from pyruvllm.config import Clock
from pyruvllm.memory.kernels import open_registry
from pyruvllm.models.decoder import Runner
from pyruvllm.models.gguf import read_head
from pyruvllm.models.parts import Parts
from pyruvllm.models.sampling import Sampler, Sampling
from pyruvllm.models.shape import Shape
from pyruvllm.models.tokenizer import load
from pyruvllm.storage import open_driver
from tests.bench.report import report
from tests.generators.decoders import model_file

TAIL = 32  # so that most of a short text is old
SETTINGS = {
    "q8 keys and values (the default)": Setting(TAIL),
    "q8 keys, q4 values": Setting(TAIL, "q8q4"),
    "q8 keys, q4 values, rotated": Setting(TAIL, "q8q4", rotate=True),
    "q4 keys and values": Setting(TAIL, "q4"),
    "q4 keys and values, rotated": Setting(TAIL, "q4", rotate=True),
}


async def opened():
    driver = await open_driver(":memory:")
    try:
        return await open_registry(driver, Clock())
    finally:
        await driver.close()


def runner_of(file, kernels, context):
    head = read_head(bytes(file[: 16 << 20]) if isinstance(file, np.ndarray) else file, len(file))
    shape = Shape.of(head.metadata)
    parts = Parts(head, shape, lambda tensor: file[tensor.offset : tensor.offset + tensor.size], kernels)
    return Runner(shape, parts, kernels, min(context, shape.context)), head.metadata


def logits_of(runner, setting, ids, first, by_token=None):
    """(tokens, vocabulary) of what comes after each from ``first`` on."""
    runner.use(runner.begin(setting=setting))
    runner.feed(ids[:first])
    found = []
    for id in ids[first:-1]:
        if by_token is not None:
            by_token(runner)
        found.append(runner.feed([id]).astype(np.float64))
    runner.cache.release(runner.sequence)
    return np.array(found)


def nats(logits, targets):
    top = logits.max(1)
    return float(np.mean(top + np.log(np.exp(logits - top[:, None]).sum(1)) - logits[np.arange(len(logits)), targets]))


def keys_by_token(runner, levels=15):
    """Keys of old pages as they would be were they quantised by token: for comparison, in place, once for each page."""
    store, seen = runner.cache.store, runner.__dict__.setdefault("by_token", set())
    for page in runner.sequence.tail[: -TAIL // PAGE - 1]:
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


def compared(name, runner, ids):
    first, figures = 64, {}
    targets = np.array(ids[first + 1 :])
    plain = logits_of(runner, EXACT, ids, first)
    base = nats(plain, targets)
    figures[f"{name}: perplexity in float16"] = round(float(np.exp(base)), 4)
    spread = float(plain.std())
    cases = [(label, setting, None) for label, setting in SETTINGS.items()]
    cases += [("keys by token, 8 bits", EXACT, lambda r: keys_by_token(r, 255)), ("keys by token, 4 bits", EXACT, keys_by_token)]
    for label, setting, by_token in cases:
        runner.__dict__.pop("by_token", None)
        found = logits_of(runner, setting, ids, first, by_token)
        change = 100 * (np.exp(nats(found, targets) - base) - 1)
        apart = np.sqrt(np.mean((found - plain) ** 2)) / spread
        same = 100 * float(np.mean(found.argmax(1) == plain.argmax(1)))
        figures[f"{name}: {label}"] = f"perplexity {change:+.3f} %, logits {100 * apart:.2f} % apart, same first choice {same:.1f} %"
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--tokens", type=int, default=384)
    options = parser.parse_args()
    kernels, figures = asyncio.run(opened()), {}
    if options.model:
        runner, metadata = runner_of(np.memmap(options.model, np.uint8, "r"), kernels, options.tokens + 1)
        text = options.text.read_text() if options.text else None
        ids = load(metadata).encode(text, bounds=True)[: options.tokens] if text else drawn(runner, options.tokens, 1)
        figures |= compared(options.model.stem, runner, ids)
    else:
        for architecture in ("lfm2", "llama"):
            file = model_file(architecture, hidden=256, feed_forward=384, heads=4, seed=4)
            runner, _ = runner_of(file, kernels, options.tokens + 1)
            figures |= compared(f"random {architecture}, heads of 64", runner, drawn(runner, options.tokens, 1))
    report("cache_quality", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
