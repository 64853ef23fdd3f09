import numpy as np

from ..operation import DTYPES
from . import case

SIZES = ((3, 4, 5), (50, 33, 70), (3000, 500, 256))  # rows of the table, tokens, components


def table(rng, size, kind):
    vocab, _, dim = SIZES[size]
    if kind == "i8":
        return {"table": rng.integers(-128, 128, (vocab, dim), np.int8), "scales": rng.uniform(0.001, 0.1, vocab).astype(np.float32)}
    return {"table": rng.standard_normal((vocab, dim), np.float32).astype(DTYPES[kind])}


def tokens(rng, size):
    vocab, n, dim = SIZES[size]
    chosen = rng.integers(0, vocab, n).astype(np.int32)
    chosen[:2] = vocab - 1, 0
    return {"tokens": chosen, "vocab": vocab, "n": n, "dim": dim}


def lookup(kind):
    def make(rng, size):
        given = {**table(rng, size, kind), **tokens(rng, size)}
        return {**given, "rows": np.zeros((given["n"], given["dim"]), np.float32)}

    return case()(make)


def static_embed(kind):
    def make(rng, size):
        given = {**table(rng, size, kind), **tokens(rng, size)}
        weights = rng.uniform(0, 2, given["vocab"]).astype(np.float32) if rng.random() < 0.7 else None
        texts = (3, 7, 20)[size]
        offsets = np.sort(rng.integers(0, given["n"] + 1, texts + 1)).astype(np.uint32)
        offsets[texts // 2] = offsets[texts // 2 + 1]  # a text without tokens
        given |= {"weights": weights, "offsets": offsets, "vectors": np.full((texts, given["dim"]), 7, np.float32)}
        return {**given, "texts": texts, "normalise": int(rng.integers(2))}

    return case(rtol=1e-5, atol=1e-5)(make)


lookup_f32, lookup_f16, lookup_i8 = (lookup(kind) for kind in ("f32", "f16", "i8"))
static_embed_f32, static_embed_f16, static_embed_i8 = (static_embed(kind) for kind in ("f32", "f16", "i8"))
