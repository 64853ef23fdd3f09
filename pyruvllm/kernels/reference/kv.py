"""Pages of keys and values. What is inside a page is drawn in wasm_kernels/kv_page.h; `_Keys` and `_Values` are its twins."""

from functools import partial
from typing import Any

import numpy as np

from ...errors import OperandError
from .attention import attention

HALF = 65504  # the largest float16


def _quantized(numbers: np.ndarray, by: np.ndarray, low: int, high: int) -> np.ndarray:
    """To the nearest whole number of (numbers / by), ties to even; 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        codes = np.clip(np.rint(numbers * (np.float32(1) / by)), low, high)
    return np.where(np.isnan(codes), 0, codes).astype(np.int8)


def _ratio(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(y == 0, np.float32(0), x / y)


class _Part:
    """Keys or values of one page: views into its bytes, filled or read. depth and width: of the matrix of codes."""

    def __init__(self, kind: str, place: np.ndarray, kv_heads: int, depth: int, width: int) -> None:
        self.kind, self.heads, self.depth, self.width = kind, kv_heads, depth, width
        self._place, self._at = place, 0
        if kind == "f16":
            self._codes = self.take(np.float16, depth, width)
        elif kind == "q8":
            self._codes = self.take(np.int8, depth // 2, width, 2)
        else:
            self._codes = self.take(np.uint16, -(-depth // 8), width, 2)

    def take(self, dtype: Any, *shape: int) -> np.ndarray:
        """The next array of the page, one of this shape a head."""
        size = self.heads * int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._at += size
        return self._place[self._at - size : self._at].view(dtype).reshape(self.heads, *shape)

    @property
    def codes(self) -> np.ndarray:
        """(heads, depth, width), numbers where the kind is f16."""
        if self.kind == "f16":
            return self._codes
        if self.kind == "q8":
            return self._codes.transpose(0, 1, 3, 2).reshape(self.heads, self.depth, self.width)
        four = self._codes[..., None] >> np.arange(0, 16, 4, dtype=np.uint16) & 15  # (heads, depth / 8, width, row % 2, row % 8 / 2)
        return four.transpose(0, 1, 4, 3, 2).reshape(self.heads, -1, self.width)[:, : self.depth]

    @codes.setter
    def codes(self, codes: np.ndarray) -> None:
        if self.kind == "q8":
            self._codes[...] = codes.reshape(self.heads, -1, 2, self.width).transpose(0, 1, 3, 2)
            return
        codes = np.pad(codes, ((0, 0), (0, -self.depth % 8), (0, 0))).astype(np.uint16)
        four = codes.reshape(self.heads, -1, 4, 2, self.width).transpose(0, 1, 4, 3, 2) << np.arange(0, 16, 4, dtype=np.uint16)
        self._codes[...] = np.bitwise_or.reduce(four, -1)


class _Keys(_Part):
    """Steps and least numbers are one a channel, whole multiples of a unit a head."""

    def __init__(self, kind: str, place: np.ndarray, kv_heads: int, dim: int, page: int) -> None:
        super().__init__(kind, place, kv_heads, dim, page)
        if kind == "q8":
            self.steps, self.units = self.take(np.int16, dim), self.take(np.float32, 1)
        elif kind == "q4":
            room = dim + -dim % 8
            self.steps, self.least, self.units = self.take(np.int16, room), self.take(np.int16, room), self.take(np.float32, 2)

    def read(self) -> np.ndarray:
        """(heads, dim, page) float32"""
        codes = self.codes.astype(np.float32)
        if self.kind == "f16":
            return codes
        keys = (self.units[:, :1] * self.steps[:, : self.depth].astype(np.float32))[:, :, None] * codes
        if self.kind == "q4":
            keys += (self.units[:, 1:] * self.least[:, : self.depth].astype(np.float32))[:, :, None]
        return keys

    def fill(self, keys: np.ndarray) -> None:
        """keys: (heads, dim, page) float32. The error is at most half a channel's step."""
        if self.kind == "q8":
            size = np.abs(keys).max(2)  # (heads, dim)
            unit = size.max(1, keepdims=True, initial=0) / np.float32(127 * 32767)
            self.units[...] = unit
            self.steps[...] = np.minimum(np.ceil(_ratio(size, unit * np.float32(127))), 32767)
            self.codes = _quantized(keys, (unit * self.steps.astype(np.float32))[:, :, None], -127, 127)
            return
        low, high = keys.min(2), keys.max(2)
        unit = np.abs(low).max(1, keepdims=True, initial=0) / np.float32(32767)
        least = np.clip(np.floor(_ratio(low, unit)), -32767, 32767)
        base = unit * least
        span = high - base
        step = span.max(1, keepdims=True, initial=0) / np.float32(15 * 32767)
        self.units[:, :1], self.units[:, 1:] = step, unit
        self.steps[...] = self.least[...] = 0
        self.least[:, : self.depth] = least
        self.steps[:, : self.depth] = np.clip(np.ceil(_ratio(span, step * np.float32(15))), 0, 32767)
        by = step * self.steps[:, : self.depth].astype(np.float32)
        self.codes = _quantized(keys - base[:, :, None], by[:, :, None], 0, 15)


class _Values(_Part):
    """Steps and least numbers are one a position."""

    def __init__(self, kind: str, place: np.ndarray, kv_heads: int, dim: int, page: int) -> None:
        super().__init__(kind, place, kv_heads, page, dim)
        if kind == "q8":
            self.steps = self.take(np.float32, page)
        elif kind == "q4":
            self.steps, self.least = self.take(np.float16, page), self.take(np.float16, page)

    def read(self) -> np.ndarray:
        """(heads, page, dim) float32"""
        codes = self.codes.astype(np.float32)
        if self.kind == "f16":
            return codes
        values = self.steps.astype(np.float32)[:, :, None] * codes
        return values if self.kind == "q8" else values + self.least.astype(np.float32)[:, :, None]

    def fill(self, values: np.ndarray) -> None:
        """values: (heads, page, dim) float32 that float16 holds. The error is at most 0.51 of a position's step."""
        low, high = values.min(2, initial=np.inf), values.max(2, initial=-np.inf)
        if self.kind == "q8":
            self.steps[...] = np.maximum(np.abs(high), np.abs(low)) / np.float32(127)
            self.codes = _quantized(values, self.steps[:, :, None], -127, 127)
            return
        self.least[...] = low + np.float32(0)
        self.steps[...] = (high - low) / np.float32(15)
        self.codes = _quantized(values - low[:, :, None], self.steps.astype(np.float32)[:, :, None], 0, 15)


def _parts(kinds: tuple[str, str], page_bytes: np.ndarray, keys_at: int, values_at: int, *shape: int) -> tuple[_Keys, _Values]:
    return _Keys(kinds[0], page_bytes[keys_at:], *shape), _Values(kinds[1], page_bytes[values_at:], *shape)


def part_bytes(kind: str, keys: bool, kv_heads: int, dim: int, page: int) -> int:
    """Of the keys or the values of one page."""
    if kind == "f16":
        return 2 * kv_heads * dim * page
    if keys:
        return kv_heads * (dim * page + 2 * dim + 4 if kind == "q8" else (dim + 7) // 8 * 8 * (page // 2 + 4) + 8)
    return kv_heads * page * (dim + 4 if kind == "q8" else dim // 2 + 4)


def _places(kinds: tuple[str, str], count: int, stride: int, keys_at: int, values_at: int, *shape: int) -> int:
    """A page of these kinds may begin at the places of a pool that are below this."""
    needed = max(keys_at + part_bytes(kinds[0], True, *shape), values_at + part_bytes(kinds[1], False, *shape))
    return 0 if count * stride < needed else (count * stride - needed) // stride + 1


def _from(pool: np.ndarray, place: int, stride: int) -> np.ndarray:
    return pool.reshape(-1)[int(place) * stride :]


def _checked(operation: str, name: str, indices: np.ndarray, n: int, count: int) -> np.ndarray:
    used = indices.reshape(-1)[:n]
    wrong = used[(used < 0) | (used >= count)]
    if wrong.size:
        raise OperandError(f"{operation}: {name} holds an index that is out of range: {wrong[0]} of {count} places; nothing was done")
    return used


def kv_write_f16(k, v, pool, table, tokens, position, kv_heads, dim, page, pages, count, stride, keys_at, values_at) -> None:
    if not tokens:
        return
    first = position // page
    places = _places(("f16", "f16"), count, stride, keys_at, values_at, kv_heads, dim, page)
    used = _checked("kv_write_f16", "table", table.reshape(-1)[first:], -(-(position + tokens) // page) - first, places)
    k, v = (np.clip(each.reshape(-1)[: tokens * kv_heads * dim].reshape(tokens, kv_heads, dim), -HALF, HALF) for each in (k, v))
    for i in range(tokens):
        index, slot = used[(position + i) // page - first], (position + i) % page
        keys, values = _parts(("f16", "f16"), _from(pool, index, stride), keys_at, values_at, kv_heads, dim, page)
        keys.codes[:, :, slot] = k[i]
        values.codes[:, slot] = v[i]


def _quantize(
    kinds, source, source_pages, pool, pages, n, kv_heads, dim, page,
    source_count, source_stride, source_keys_at, source_values_at, count, stride, keys_at, values_at,
) -> None:  # fmt: skip
    name = "kv_quantize_" + ("".join(kinds) if kinds[0] != kinds[1] else kinds[0])
    shape = kv_heads, dim, page
    there = _places(("f16", "f16"), source_count, source_stride, source_keys_at, source_values_at, *shape)
    taken = _checked(name, "source_pages", source_pages, n, there)
    made = _checked(name, "pages", pages, n, _places(kinds, count, stride, keys_at, values_at, *shape))
    for i in range(n):
        have = _from(source, taken[i], source_stride)
        keys, values = _parts(("f16", "f16"), have, source_keys_at, source_values_at, *shape)
        to_keys, to_values = _parts(kinds, _from(pool, made[i], stride), keys_at, values_at, *shape)
        to_keys.fill(keys.read())
        to_values.fill(values.read())


def _dequantize(kinds, pool, table, k, v, kv_heads, dim, page, pages, count, stride, keys_at, values_at) -> None:
    name = "kv_dequantize_" + ("".join(kinds) if kinds[0] != kinds[1] else kinds[0])
    k, v = (each.reshape(-1)[: pages * page * kv_heads * dim].reshape(pages, page, kv_heads, dim) for each in (k, v))
    places = _places(kinds, count, stride, keys_at, values_at, kv_heads, dim, page)
    for i, index in enumerate(_checked(name, "table", table, pages, places)):
        keys, values = _parts(kinds, _from(pool, index, stride), keys_at, values_at, kv_heads, dim, page)
        k[i] = keys.read().transpose(2, 0, 1)
        v[i] = values.read().transpose(1, 0, 2)


def _paged_attention(
    kinds, q, pool, table, out, lse, tokens, context, heads, kv_heads, dim, page, pages, count, stride, keys_at, values_at, offset, scale
) -> None:  # fmt: skip
    name = "paged_attention_" + ("".join(kinds) if kinds[0] != kinds[1] else kinds[0])
    used = -(-context // page)
    _checked(name, "table", table, used, _places(kinds, count, stride, keys_at, values_at, kv_heads, dim, page))
    k, v = (np.empty((used * page, kv_heads, dim), np.float32) for _ in range(2))
    _dequantize(kinds, pool, table, k, v, kv_heads, dim, page, used, count, stride, keys_at, values_at)
    attention(q, k, v, out, lse, tokens, context, heads, kv_heads, dim, offset, scale)


kv_quantize_q8 = partial(_quantize, ("q8", "q8"))
kv_quantize_q4 = partial(_quantize, ("q4", "q4"))
kv_quantize_q8q4 = partial(_quantize, ("q8", "q4"))
kv_dequantize_f16 = partial(_dequantize, ("f16", "f16"))
kv_dequantize_q8 = partial(_dequantize, ("q8", "q8"))
kv_dequantize_q4 = partial(_dequantize, ("q4", "q4"))
kv_dequantize_q8q4 = partial(_dequantize, ("q8", "q4"))
paged_attention_f16 = partial(_paged_attention, ("f16", "f16"))
paged_attention_q8 = partial(_paged_attention, ("q8", "q8"))
paged_attention_q4 = partial(_paged_attention, ("q4", "q4"))
paged_attention_q8q4 = partial(_paged_attention, ("q8", "q4"))
