from functools import partial

import numpy as np

from ..reference import kv
from . import case

KINDS = {"f16": ("f16", "f16"), "q8": ("q8", "q8"), "q4": ("q4", "q4"), "q8q4": ("q8", "q4")}


def numbers(rng, size):
    """Shapes that kernels find awkward, and those of LFM2."""
    kv_heads, dim, page = [(1, 4, 16), (3, 20, 16), (2, 64, 32), (1, 80, 48), (8, 64, 16)][rng.integers(3) + size]
    return {"kv_heads": kv_heads, "dim": dim, "page": page}


def pool(rng, kind, pages, kv_heads, dim, page):
    """A pool with room for more pages than are used, each one place long or several; its numbers, and a table of some of its pages."""
    keys_at = 4 * int(rng.integers(3))
    values_at = keys_at + kv.part_bytes(KINDS[kind][0], True, kv_heads, dim, page) + 4 * int(rng.integers(3))
    size, places = values_at + kv.part_bytes(KINDS[kind][1], False, kv_heads, dim, page), int(rng.integers(1, 4))
    stride, room = -(-size // (4 * places)) * 4, pages + int(rng.integers(1, 4))
    memory = np.zeros((room * places, stride), np.uint8)
    table = places * rng.permutation(room)[:pages].astype(np.int32)
    return memory, {"count": room * places, "stride": stride, "keys_at": keys_at, "values_at": values_at}, table


def filled(rng, kind, pages, kv_heads, dim, page):
    """The same, filled."""
    shape = {"kv_heads": kv_heads, "dim": dim, "page": page}
    memory, where, table = pool(rng, kind, pages, **shape)
    spread = np.exp(rng.normal(0, 1, (kv_heads, dim))).astype(np.float32)  # channels of keys differ, and have means of their own
    for index in table:
        keys = spread * (rng.standard_normal((page, kv_heads, dim), np.float32) + rng.standard_normal((kv_heads, dim), np.float32))
        values = rng.standard_normal((page, kv_heads, dim), np.float32)
        k, v = kv._parts(KINDS[kind], kv._from(memory, index, where["stride"]), where["keys_at"], where["values_at"], kv_heads, dim, page)
        keys, values = keys.astype(np.float16).transpose(1, 2, 0), values.astype(np.float16).transpose(1, 0, 2)
        if kind == "f16":
            k.codes[...], v.codes[...] = keys, values
        else:
            k.fill(keys.astype(np.float32))
            v.fill(values.astype(np.float32))
    return memory, where, table


def _paged_attention(kind, rng, size):
    shape = numbers(rng, size)
    pages = int(rng.integers(1, (3, 12, 20)[size]))
    memory, where, table = filled(rng, kind, pages, **shape)
    context = int(rng.integers(0, pages * shape["page"] + 1))
    tokens = int(rng.integers(0, (3, 7, 20)[size]))
    heads = shape["kv_heads"] * int(rng.integers(1, 4))
    return {
        "q": rng.standard_normal((tokens, heads, shape["dim"]), np.float32),
        "pool": memory,
        "table": table,
        "out": np.full((tokens, heads, shape["dim"]), 7, np.float32),
        "lse": np.zeros((tokens, heads), np.float32) if rng.integers(4) else None,
        "tokens": tokens,
        "context": context,
        "heads": heads,
        **shape,
        "pages": pages,
        **where,
        "offset": int(rng.integers(-3, context + 2)),
        "scale": shape["dim"] ** -0.5,
    }


@case()
def kv_write_f16(rng, size):
    shape = numbers(rng, size)
    pages = (1, 3, 5)[size]
    memory, where, table = pool(rng, "f16", pages, **shape)
    position = int(rng.integers(0, pages * shape["page"] + 1))
    tokens = int(rng.integers(0, pages * shape["page"] - position + 1))
    each = (tokens, shape["kv_heads"], shape["dim"])
    return {
        "k": np.exp2(rng.uniform(-28, 17, each)).astype(np.float32) * rng.choice([-1, 1], each).astype(np.float32),
        "v": rng.standard_normal(each, np.float32),
        "pool": memory,
        "table": table,
        "tokens": tokens,
        "position": position,
        **shape,
        "pages": pages,
        **where,
    }


def _quantize(kind, rng, size):
    shape = numbers(rng, size)
    n = (1, 3, 6)[size]
    source, source_where, source_pages = filled(rng, "f16", n, **shape)
    if rng.integers(2):
        source[source_pages[0]] = 0
    memory, where, targets = pool(rng, kind, n, **shape)
    return {
        "source": source,
        "source_pages": source_pages,
        "pool": memory,
        "pages": targets,
        "n": n,
        **shape,
        **{f"source_{name}": value for name, value in source_where.items()},
        **where,
    }


def _dequantize(kind, rng, size):
    shape = numbers(rng, size)
    pages = (1, 3, 6)[size]
    memory, where, table = filled(rng, kind, pages, **shape)
    k, v = (np.zeros((pages, shape["page"], shape["kv_heads"], shape["dim"]), np.float32) for _ in range(2))
    return {"pool": memory, "table": table, "k": k, "v": v, **shape, "pages": pages, **where}


# Quantised: 16-bit multiples of the query and of the weights are what the kernels multiply with.
paged_attention_f16 = case(rtol=2e-5, atol=2e-5)(partial(_paged_attention, "f16"))
paged_attention_q8 = case(rtol=2e-3, atol=2e-3)(partial(_paged_attention, "q8"))
paged_attention_q4 = case(rtol=5e-3, atol=5e-3)(partial(_paged_attention, "q4"))
paged_attention_q8q4 = case(rtol=5e-3, atol=5e-3)(partial(_paged_attention, "q8q4"))
kv_quantize_q8 = case()(partial(_quantize, "q8"))
kv_quantize_q4 = case()(partial(_quantize, "q4"))
kv_quantize_q8q4 = case()(partial(_quantize, "q8q4"))
kv_dequantize_f16 = case()(partial(_dequantize, "f16"))
kv_dequantize_q8 = case()(partial(_dequantize, "q8"))
kv_dequantize_q4 = case()(partial(_dequantize, "q4"))
kv_dequantize_q8q4 = case()(partial(_dequantize, "q8q4"))
