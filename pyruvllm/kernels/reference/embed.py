"""Embedding tables: rows by token, and whole texts as the mean of their tokens' rows.

Such static embeddings are what Model2Vec distils of a transformer: one vector and one weight per token, and nothing else at run time
(https://github.com/MinishLab/model2vec). A table (vocab, dim) is float32, float16, or int8 with one float32 scale per row.
"""

import numpy as np

from ...errors import OperandError


def lookup_f32(table, tokens, rows, vocab, n, dim):
    """tokens (n,) int32 to rows (n, dim) float32."""
    rows.reshape(-1)[: n * dim] = _named("lookup_f32", table, None, tokens, vocab, n, dim)[0].reshape(-1)


def lookup_f16(table, tokens, rows, vocab, n, dim):
    rows.reshape(-1)[: n * dim] = _named("lookup_f16", table, None, tokens, vocab, n, dim)[0].reshape(-1)


@np.errstate(all="ignore")
def lookup_i8(table, scales, tokens, rows, vocab, n, dim):
    named, by = _named("lookup_i8", table, scales, tokens, vocab, n, dim)
    rows.reshape(-1)[: n * dim] = (named * by[:, None]).reshape(-1)


def static_embed_f32(table, weights, tokens, offsets, vectors, vocab, n, texts, dim, normalise):
    """tokens (n,) int32, offsets (texts + 1,) uint32, weights (vocab,) to vectors (texts, dim) float32.

    The mean divides by the number of tokens, whatever their weights; a text whose mean has no length in float32 stays as it is.
    """
    _embed("static_embed_f32", table, None, weights, tokens, offsets, vectors, vocab, n, texts, dim, normalise)


def static_embed_f16(table, weights, tokens, offsets, vectors, vocab, n, texts, dim, normalise):
    _embed("static_embed_f16", table, None, weights, tokens, offsets, vectors, vocab, n, texts, dim, normalise)


def static_embed_i8(table, scales, weights, tokens, offsets, vectors, vocab, n, texts, dim, normalise):
    """scales (vocab,): of the table's rows."""
    _embed("static_embed_i8", table, scales, weights, tokens, offsets, vectors, vocab, n, texts, dim, normalise)


@np.errstate(all="ignore")
def _embed(operation, table, scales, weights, tokens, offsets, vectors, vocab, n, texts, dim, normalise):
    rows, by = _named(operation, table, scales, tokens, vocab, n, dim)
    offsets = offsets.reshape(-1)[: texts + 1].astype(np.int64)
    if (np.diff(offsets) < 0).any() or offsets[-1] > n:
        raise OperandError(f"{operation}: offsets holds an index that is out of range for n {n}, texts {texts}; nothing more was done")
    if weights is not None:
        by = weights.reshape(-1)[tokens.reshape(-1)[:n]] * by
    rows = rows * by[:, None]
    found = vectors.reshape(-1)[: texts * dim].reshape(texts, dim)
    for text, (start, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        found[text] = rows[start:end].sum(0) / np.float32(max(end - start, 1))
        length = np.sqrt(found[text] @ found[text])
        if normalise and length != 0:
            found[text] /= length


def _named(operation, table, scales, tokens, vocab, n, dim) -> tuple[np.ndarray, np.ndarray]:
    """The rows that tokens name (n, dim) as float32, and what they are times (n,)."""
    tokens = tokens.reshape(-1)[:n]
    if n and not (tokens.min() >= 0 and tokens.max() < vocab):
        raise OperandError(f"{operation}: tokens holds an index that is out of range for vocab {vocab}; nothing more was done")
    rows = table.reshape(-1)[: vocab * dim].reshape(vocab, dim)[tokens].astype(np.float32)
    return rows, np.ones(n, np.float32) if scales is None else scales.reshape(-1)[tokens]
