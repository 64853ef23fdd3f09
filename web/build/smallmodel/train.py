"""Trains the small model that ships with the package, on the cores of a CPU.

    python web/build/smallmodel/train.py --out DIR [--steady 4000] [--decay 4700] [--seed 1] [--threads 2]

What is learned is how to answer from numbered passages: the loss counts the answer, and a little the question's second saying, from which
copying is learned first. It counts too where the last layers' attention looks while an answer is written: at what is copied (the supervised
attention of Liu et al. 2016, arXiv:1609.04186). Texts grow, from one passage to five, whenever the answers have become easy. Matrices by
Muon (Jordan 2024: momentum, orthogonalised), the rest by Adam. DIR/checkpoint.pt is kept every few minutes and gone on from. Examples are
made as they are needed, from the seed and the step, so a run can be repeated but for the rounding of sums.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[3])]

import torch  # noqa: E402
from encoding import encoded  # noqa: E402
from examples import Maker  # noqa: E402
from network import Shape, initial, is_matrix, looks, states  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from vocabulary import PAD, learn, pieces  # noqa: E402

LEVELS = ((1, 2, 1024), (1, 3, 1024), (2, 3, 1024), (3, 4, 1536), (5, 5, 2048))  # passages and facts of one at most, tokens of one step
REFUSE = (0.05, 0.1, 0.2, 0.2, 0.2)  # share of questions without an answer
EASY = (1.1, 0.8, 0.6, 0.4)  # loss of the answers at which the next level begins
LENGTHS = range(64, 513, 32)  # what texts are padded to
GROUP = 32  # steps whose examples are made and sorted together
RATE, RATE_WORDS, RATE_VECTORS, WARM, DECAYED = 0.02, 0.01, 0.002, 60, 0.01
LOOK = (0.3, 0.3)  # of the last layers' attention: weight of where it looks, from an answer's token to the place that it is copied from


def batches(tokenizer, seed: int, group: int, level: int):
    """(ids, places, targets, weights, copied), GROUP steps of them or so, of texts of a level."""
    maker, (passages, facts, tokens) = Maker(seed * 1_000_000 + group), LEVELS[level]
    maker.r.pieces = pieces(tokenizer)
    by_length: dict[int, list] = {length: [] for length in LENGTHS}
    made = 0
    while made < tokens * GROUP:
        count = min(maker.r.randrange(1, passages + 1), maker.r.randrange(1, passages + 2))
        text = encoded(tokenizer, maker.conversation(count, 2 + 2 * count, maker.r.randrange(1, facts + 1), REFUSE[level]))
        length = next((length for length in LENGTHS if length >= len(text)), None)
        if length:
            made += length
            by_length[length].append(text)
    ready = []
    for length, texts in by_length.items():
        size = max(1, tokens // length)
        for start in range(0, len(texts), size):
            if len(texts) - start >= size // 2:
                ready.append(padded(texts[start : start + size], length))
    maker.r.shuffle(ready)
    return ready


def padded(texts, length):
    ids = torch.full((len(texts), length), PAD)
    chosen = [[(at, *rest) for at, rest in enumerate(text[1:]) if rest[1]] for text in texts]
    most = max(map(len, chosen))
    places, targets = torch.zeros(2, len(texts), most, dtype=torch.long)
    weights, copied = torch.zeros(len(texts), most), torch.zeros(len(texts), most, length)
    for row, (text, own) in enumerate(zip(texts, chosen, strict=True)):
        ids[row, : len(text)] = torch.tensor([id for id, *_ in text])
        *values, sources = zip(*own, strict=True)
        for out, value in zip((places, targets, weights), values, strict=True):
            out[row, : len(own)] = torch.tensor(value)
        for at, source in enumerate(sources):
            copied[row, at, source] = 1
    return ids, places, targets, weights, copied


def loss(shape, w, ids, places, targets, weights, copied):
    """What is to be less; and of the answers' tokens alone: their loss, the share that is right, how little is looked at what they copy."""
    found, attended = states(shape, w, ids, places)
    logits = found @ w["token_embd"].T
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(weights)
    answers, copies = weights == 1, copied.any(-1)
    seen = [(looks(q, k, places) * copied[:, None]).sum(-1).mean(1) for q, k in attended[-len(LOOK) :]]
    missed = [-(each[copies] + 1e-4).log().mean() for each in seen]
    right = (logits.argmax(-1) == targets)[answers].float().mean()
    goal = (each * weights).sum() / weights.sum() + sum(share * each for share, each in zip(LOOK, missed, strict=True))
    return goal, each[answers].mean().item(), right.item(), missed[-1].item()


def orthogonal(g):
    """(n, rows, cols), each nearly orthogonal: five steps of Newton and Schulz."""
    tall = g.shape[1] > g.shape[2]
    x = g.mT if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x) * max(1, g.shape[1] / g.shape[2]) ** 0.5


@torch.no_grad()
def update(w, first, second, step, rate):
    """One step of both optimisers, in place."""
    parts: dict[tuple[int, ...], list] = {}
    for name, value in w.items():
        g = value.grad
        if is_matrix(name):
            first[name].mul_(0.95).add_(g)
            direction = g + 0.95 * first[name]
            pieces = 3 if "in_proj" in name else 1  # three matrices in one
            for goal, part in zip(value.chunk(pieces), direction.chunk(pieces), strict=True):
                parts.setdefault(tuple(part.shape), []).append((goal, part))
        else:
            first[name].mul_(0.9).add_(g, alpha=0.1)
            second[name].mul_(0.97).addcmul_(g, g, value=0.03)
            ahead = first[name] / (1 - 0.9 ** (step + 1)) / ((second[name] / (1 - 0.97 ** (step + 1))).sqrt() + 1e-8)
            value.sub_(ahead, alpha=(RATE_WORDS if name == "token_embd" else RATE_VECTORS) * rate)
        value.grad = None
    for same in parts.values():
        turned = orthogonal(torch.stack([part for _, part in same]))
        for (goal, _), part in zip(same, turned, strict=True):
            goal.mul_(1 - DECAYED * RATE * rate).sub_(part, alpha=RATE * rate)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steady", type=int, default=4000)
    parser.add_argument("--decay", type=int, default=4700)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    options.out.mkdir(parents=True, exist_ok=True)
    path, shape = options.out / "checkpoint.pt", Shape()
    words = options.out / "tokenizer.json"
    if not words.exists():
        learn(options.seed).save(str(words))
    tokenizer = Tokenizer.from_file(str(words))
    w = initial(shape, options.seed)
    first = {name: torch.zeros_like(value) for name, value in w.items()}
    second = {name: torch.zeros_like(value) for name, value in w.items() if not is_matrix(name)}
    step = group = level = 0
    if path.exists():
        kept = torch.load(path)
        w, first, second, step, group, level = (kept[name] for name in ("w", "first", "second", "step", "group", "level"))
    for value in w.values():
        value.requires_grad_()
    total, begun, seen = options.steady + options.decay, time.monotonic(), 0
    while step < total:
        measured = []
        for batch in batches(tokenizer, options.seed, group, level):
            rate = min(1, (step + 1) / WARM, max(0.02, (total - step) / options.decay))
            goal, *told = loss(shape, w, *batch)
            goal.backward()
            update(w, first, second, step, rate)
            measured.append(told)
            step, seen = step + 1, seen + batch[0].numel()
        answer, right, missed = torch.tensor(measured).mean(0).tolist()
        speed = seen / (time.monotonic() - begun)
        print(f"{step} level {level} answer {answer:.3f} right {right:.3f} missed {missed:.3f}, {speed:.0f} tokens/s", flush=True)
        level += level < len(EASY) and answer < EASY[level]
        group += 1
        if group % 4 == 0 or step >= total:
            kept = {
                "w": {n: v.detach() for n, v in w.items()},
                "first": first,
                "second": second,
                "step": step,
                "group": group,
                "level": level,
            }
            torch.save(kept, path.with_suffix(".partial"))
            os.replace(path.with_suffix(".partial"), path)


if __name__ == "__main__":
    main()
