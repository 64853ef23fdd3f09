"""How the index keeps vectors: as float32, or as int8 or 1-bit codes that a query is scored against.

A code is made of what is left of a prepared vector when the *centre* (the mean of the first vectors added at once) is taken away, after
a random rotation (rotation.py), which makes its components alike. It has two parts:

    codes  (dims / 8 + 16) uint8: the signs of all components, one bit each, and four float32 (`Factors`)
    tails  (dims / 8 * 7) uint8, int8 only: the other seven bits of each component

The signs alone give an unbiased estimate of a product whose error is known: this is RaBitQ (Gao and Long 2024, arXiv:2405.12497). Signs
and tails together are the number c in 0 ... 255 of each component, which stands for (c - 127.5) x scale (Gao et al. 2025,
arXiv:2409.09913, with the plainest choice of scale). A search looks at the tails only of vectors whose signs leave it open whether they
are near enough.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .arrays import Empty, placed
from .errors import ParameterError
from .metric import Metric
from .rotation import Rotation

CODECS = ("float32", "int8", "bit1")
LARGEST = 16384  # dimension of coded vectors, so that sums of products fit 32 bits
LEARNED_FROM = 256  # vectors that a centre takes: fewer say too little about those to come
BLOCK = 128  # dims are a multiple: the tails of so many components are seven words of 16 bytes
Codes = dict[str, np.ndarray]  # fields by name, (n, ...) each


@dataclass(frozen=True)
class Rows:
    """Vectors in the space where products are taken, with the terms that make these a closeness (metric.py).

    values   (n, w) float32
    halves   (n,) float32, taken from each product; None where there are none
    lengths  (n,) float32, of 1-bit codes: of what the values stand for, which are longer than that
    """

    values: np.ndarray
    halves: np.ndarray | None = None
    lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def at(self, places) -> "Rows":
        """Those at places (n,), or a slice."""
        halves, lengths = self.halves, self.lengths
        return Rows(self.values[places], None if halves is None else halves[places], None if lengths is None else lengths[places])

    def closeness(self, others: "Rows") -> np.ndarray:
        """Of each of these n to each of others (o,), (n, o) float32, up to a constant of the index."""
        products = self.values @ others.values.T
        if self.lengths is not None and others.lengths is not None:
            products = self._between_signs(products, others)
        for halves in (None if self.halves is None else self.halves[:, None], others.halves):
            if halves is not None:
                products -= halves
        return products

    def _between_signs(self, products: np.ndarray, others: "Rows") -> np.ndarray:
        """The angle between two vectors is to pi as the number of signs in which they differ to all (Goemans and Williamson 1995)."""
        spans = [np.sqrt(np.einsum("ij,ij->i", rows.values, rows.values)) for rows in (self, others)]
        spans = [np.where(span > 0, span, 1) for span in spans]
        agree = np.clip(products / (spans[0][:, None] * spans[1]), -1, 1)
        return (self.lengths[:, None] * others.lengths * np.sin(agree * (np.pi / 2))).astype(np.float32)


class Float32:
    """Prepared vectors as they are."""

    name: ClassVar[str] = "float32"

    part: ClassVar[str] = "vectors"  # what runs of its codes are saved as
    last: ClassVar[int] = 0  # candidates for each hit, as far as ef goes, that are scored again where originals are at hand

    def __init__(self, metric: Metric, seed: int = 0, empty: Empty = np.empty) -> None:
        self.metric = metric
        self.fields: dict[str, tuple[tuple[int, ...], type]] = {"vectors": ((metric.dim,), np.float32)}
        if metric.name == "l2":
            self.fields["halves"] = ((), np.float32)
        self.saved = ("vectors",)  # fields that segments hold, in their order
        self.learned: Codes = {}  # arrays (n,) that were learned from vectors, by name

    def learn(self, rows: np.ndarray) -> None:
        """Fits an empty index to the prepared vectors (n, dim) that will be its first."""

    def encode(self, rows: np.ndarray) -> Codes:
        """Codes of prepared vectors (n, dim)."""
        return {"vectors": rows} if "halves" not in self.fields else {"vectors": rows, "halves": self.metric.halves(rows)}

    def derived(self, codes: Codes) -> Codes:
        """The other fields, of those that are saved."""
        return {} if "halves" not in self.fields else {"halves": self.metric.halves(codes["vectors"])}

    def decode(self, codes: Codes) -> np.ndarray:
        """The prepared vectors that codes stand for, (n, dim) float32."""
        return codes["vectors"]

    def rows(self, codes: Codes) -> Rows:
        return Rows(codes["vectors"], codes.get("halves"))

    def ask(self, queries: np.ndarray) -> Rows:
        """Prepared queries (n, dim), to be held against rows."""
        return Rows(queries)

    def scores(self, codes: Codes, query: np.ndarray) -> np.ndarray:
        """Scores (n,) float32 for a prepared query (dim,)."""
        return self.metric.scores(codes["vectors"], query)


class Signs:
    """1-bit codes."""

    name: ClassVar[str] = "bit1"
    part: ClassVar[str] = "codes"
    last: ClassVar[int] = 32

    def __init__(self, metric: Metric, seed: int = 0, empty: Empty = np.empty) -> None:
        self.metric = metric
        self.dims = -(-metric.dim // BLOCK) * BLOCK
        self.rotation = Rotation(self.dims, seed)
        self.learned: Codes = {"centre": placed(empty, np.zeros(metric.dim, np.float32))}
        self.fields: dict[str, tuple[tuple[int, ...], type]] = {"codes": ((self.dims // 8 + 16,), np.uint8)}
        self.saved: tuple[str, ...] = ("codes",)

    @property
    def centre(self) -> np.ndarray:
        return self.learned["centre"]

    def learn(self, rows: np.ndarray) -> None:
        if len(rows) >= LEARNED_FROM:
            self.learned["centre"][:] = rows.mean(axis=0, dtype=np.float64)

    def encode(self, rows: np.ndarray) -> Codes:
        left = self._left(rows)
        sums, square = np.abs(left).sum(axis=1), np.einsum("ij,ij->i", left, left)
        return {"codes": self._packed(left, rows, sums, square, np.sqrt(square))}

    def derived(self, codes: Codes) -> Codes:
        return {}

    def decode(self, codes: Codes) -> np.ndarray:
        return self.rotation.back(self._values(codes))[:, : self.metric.dim] + self.centre

    def rows(self, codes: Codes) -> Rows:
        factors = self._factors(codes)
        return Rows(self._values(codes), -factors[:, 2], factors[:, 3])

    def ask(self, queries: np.ndarray) -> Rows:
        return Rows(self._left(queries))

    def scores(self, codes: Codes, query: np.ndarray) -> np.ndarray:
        rows = self.rows(codes)
        closeness = rows.values @ self.ask(query[None]).values[0] - rows.halves + self.base(query)
        if self.metric.name == "cosine":
            return np.clip(closeness, -1, 1)
        return closeness if self.metric.name == "ip" else np.minimum(2 * closeness - query @ query, 0)

    def base(self, query: np.ndarray) -> np.float32:
        """What the product of a prepared query (dim,) with the centre adds to each of its products."""
        return (query - self.centre) @ self.centre

    def _left(self, rows: np.ndarray) -> np.ndarray:
        """What is left of prepared vectors (n, dim) without the centre, rotated, (n, dims) float32."""
        padded = np.zeros((len(rows), self.dims), np.float32)
        padded[:, : self.metric.dim] = rows - self.centre
        return self.rotation(padded)

    def _packed(self, left: np.ndarray, rows: np.ndarray, sums: np.ndarray, square: np.ndarray, fourth: np.ndarray) -> np.ndarray:
        """Signs of left (n, dims) and the four factors: (n, dims / 8 + 16) uint8.

        scale   |x|^2 / sum |x_i|: a product with the signs times this is unbiased
        error   one standard deviation of that product for a query of length one
        offset  added to products: the product with the centre, less |x|^2 / 2 under l2
        fourth  of int8 the scale of its numbers, else |x|
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(sums > 0, square / sums, 0)
            error = np.sqrt(np.maximum(scale * scale * self.dims - square, 0) / max(1, self.dims - 1))
        offset = rows @ self.centre
        if self.metric.name == "l2":
            offset = offset - self.metric.halves(rows)
        factors = np.stack((scale, error, offset, fourth), axis=1).astype("<f4")
        return np.concatenate((np.packbits(left >= 0, axis=1, bitorder="little"), factors.view(np.uint8)), axis=1)

    def _factors(self, codes: Codes) -> np.ndarray:
        return np.ascontiguousarray(codes["codes"][:, self.dims // 8 :]).view("<f4")

    def _values(self, codes: Codes) -> np.ndarray:
        bits = np.unpackbits(codes["codes"][:, : self.dims // 8], axis=1, bitorder="little")
        return (bits * np.float32(2) - 1) * self._factors(codes)[:, :1]


class Int8(Signs):
    """Signs and tails: 8 bits a component.

    The tails of components 128 b ... 128 b + 127 are seven words of 16 bytes: the low seven bits of byte i of word g are those of component
    128 b + 16 g + i, and its highest bit is bit g of component 128 b + 112 + i.
    """

    name: ClassVar[str] = "int8"
    last: ClassVar[int] = 2

    def __init__(self, metric: Metric, seed: int = 0, empty: Empty = np.empty) -> None:
        super().__init__(metric, seed, empty)
        self.fields["tails"] = ((self.dims // 8 * 7,), np.uint8)
        self.saved = ("codes", "tails")

    def encode(self, rows: np.ndarray) -> Codes:
        left = self._left(rows)
        largest = np.abs(left).max(axis=1)
        steps = np.where(largest > 0, np.float32(127.5) / np.where(largest > 0, largest, 1), 0)
        numbers = np.clip(np.floor(left * steps[:, None] + 128), 0, 255)
        numbers = np.where(left >= 0, np.maximum(numbers, 128), np.minimum(numbers, 127)).astype(np.uint8)
        square = np.einsum("ij,ij->i", left, left)
        along = np.einsum("ij,ij->i", left, numbers - np.float32(127.5))
        scale = np.where(along > 0, square / np.where(along > 0, along, 1), 0)
        codes = self._packed(left, rows, np.abs(left).sum(axis=1), square, scale)
        return {"codes": codes, "tails": self._packed_tails(numbers & 127)}

    def rows(self, codes: Codes) -> Rows:
        return Rows(self._values(codes), -self._factors(codes)[:, 2])

    def _values(self, codes: Codes) -> np.ndarray:
        bits = np.unpackbits(codes["codes"][:, : self.dims // 8], axis=1, bitorder="little")
        words = codes["tails"].reshape(len(bits), self.dims // BLOCK, 7, 16)
        last = sum((words[:, :, g] >> 7) << g for g in range(7))
        low = np.concatenate((words & 127, last[:, :, None]), axis=2).reshape(len(bits), self.dims)
        return ((bits << 7 | low) - np.float32(127.5)) * self._factors(codes)[:, 3:]

    def _packed_tails(self, low: np.ndarray) -> np.ndarray:
        words = low.reshape(len(low), self.dims // BLOCK, 8, 16)
        lifted = np.stack([(words[:, :, 7] >> g & 1) << 7 for g in range(7)], axis=2)
        return (words[:, :, :7] | lifted).reshape(len(low), self.dims // 8 * 7)


Codec = Float32 | Signs


def codec(name: str, metric: Metric, seed: int = 0, empty: Empty = np.empty) -> Codec:
    """The codec of that name; empty: allocates what it learns. Raises ParameterError."""
    kinds = {kind.name: kind for kind in (Float32, Int8, Signs)}
    if name not in kinds:
        raise ParameterError(f"codec is {name!r}; it is one of {', '.join(CODECS)}")
    if name != "float32" and metric.dim > LARGEST:
        raise ParameterError(f"dim is {metric.dim}; {name} takes up to {LARGEST}")
    return kinds[name](metric, seed, empty)
