"""Ids and the codes of their vectors, each pair in a numbered slot. A deleted pair's slot is wiped and given to the next one."""

from collections.abc import Callable, Iterable

import numpy as np

from .arrays import Empty, grown, placed, shortened
from .codec import Codec, Codes, Float32, Rows
from .errors import DuplicateIdError, InvalidIdError, ParameterError, UnknownIdError
from .metric import Metric
from .segments import Ledger
from .slots import SlotMap

_LAST = np.iinfo(np.int64).max  # the greatest id
_BLOCK = 4096  # rows of codes unpacked at a time
_FEW = 200  # times fewer ids than slots are looked up one by one: 100 of 100,000 in 0.04 ms, against 0.34 for a mark on all

Where = Iterable[int] | np.ndarray | Callable[[np.ndarray], np.ndarray]


class VectorTable:
    """Slots 0 ... top - 1, some of them free.

    ids      (capacity,) int64, -1 where free
    codes    by field of the codec, (capacity, ...) each, zero where free; of float32, "vectors" (capacity, dim) as `Metric.prepare`
             gives them, and under l2 "halves" (capacity,)
    encode   prepared vectors (n, dim) to their codes: the codec's, or an accelerator's
    """

    def __init__(self, metric: Metric, ledger: Ledger, empty: Empty = np.empty, codec: Codec | None = None) -> None:
        self.metric = metric
        self.codec = Float32(metric) if codec is None else codec
        self._plain = isinstance(self.codec, Float32)
        self.encode: Callable[[np.ndarray], Codes] = self.codec.encode
        self.ledger = ledger
        self._empty = empty
        self.top = 0
        self.ids = empty(0, np.int64)
        self.codes = {name: empty((0, *shape), dtype) for name, (shape, dtype) in self.codec.fields.items()}
        self._slots = SlotMap()
        self._count = 0

    @classmethod
    def over(cls, codec: Codec, codes: Codes, top: int) -> "VectorTable":
        """A table of `top` slots on codes that are there already, without ids."""
        table = cls(codec.metric, Ledger(), codec=codec)
        table.ids, table.codes, table.top = np.full(top, -1, np.int64), codes, top
        return table

    def __len__(self) -> int:
        return self._count

    def __contains__(self, id) -> bool:
        return isinstance(id, int | np.integer) and 0 <= id <= _LAST and self._slots.find(np.array([id], np.int64), self.ids)[0] >= 0

    def at(self, slots) -> Codes:
        """The codes of slots (n,), or of a slice of them."""
        return {name: array[slots] for name, array in self.codes.items()}

    def decode(self, slots) -> np.ndarray:
        """The prepared vectors of slots (n,), as far as their codes tell, (n, dim) float32."""
        return self.codec.decode(self.at(slots))

    def rows(self, slots) -> Rows:
        """What products are taken of, for slots (n,)."""
        return self.codec.rows(self.at(slots))

    def closeness(self, slots: np.ndarray, query: Rows) -> np.ndarray:
        """Closeness of slots (n,) to one row of a query, (n,) float32, up to a constant of the query."""
        return self.rows(slots).closeness(query)[:, 0]

    def against(self, queries: Rows, slots: np.ndarray) -> np.ndarray:
        """Closeness of each of queries (q,) to slots (n,), ascending: (q, n) float32."""
        if self._plain and len(slots) * 4 > self.top * 3:  # a few products too many are cheaper than a copy
            values = queries.closeness(self.rows(slice(self.top)))
            return values if len(slots) == self.top else values[:, slots]
        if self._plain:
            return queries.closeness(self.rows(slots))
        values = np.empty((len(queries), len(slots)), np.float32)
        for start in range(0, len(slots), _BLOCK):
            part = slice(start, start + _BLOCK)
            values[:, part] = queries.closeness(self.rows(slots[part]))
        return values

    def scores(self, slots: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Scores of slots (n,) for a prepared query (dim,), (n,) float32."""
        if self._plain or len(slots) <= _BLOCK:
            return self.codec.scores(self.at(slots), query)
        parts = np.split(slots, range(_BLOCK, len(slots), _BLOCK))
        return np.concatenate([self.codec.scores(self.at(part), query) for part in parts])

    def live(self) -> np.ndarray:
        """Slots in use, ascending, (n,) int64."""
        return np.flatnonzero(self.ids[: self.top] >= 0)

    def slots(self, ids: np.ndarray) -> np.ndarray:
        """Slots of ids (n,), (n,) int64. Raises UnknownIdError."""
        slots = self._slots.find(ids, self.ids)
        if slots.min(initial=0) < 0:
            raise UnknownIdError(f"id {ids[slots < 0][0]} is not in the index of {len(self)} vectors")
        return slots

    def check_new(self, ids: np.ndarray) -> None:
        """Raises DuplicateIdError when one of ids (n,) is taken."""
        taken = ids[self._slots.find(ids, self.ids) >= 0]
        if len(taken):
            raise DuplicateIdError(f"id {taken[0]} is in the index already; delete it first to replace its vector")

    def allowed(self, where: Where) -> np.ndarray:
        """The filter as a mask over slots, (top,) bool.

        `where` is the allowed ids (ids the index lacks are passed over), or a callable from ids (n,) int64 to (n,) bool.
        """
        mask = np.zeros(self.top, bool)
        live = self.live()
        if callable(where):
            verdict = np.asarray(where(self.ids[live]))
            if verdict.dtype != bool or verdict.shape != live.shape:
                raise ParameterError(f"where() gave {verdict.dtype} of shape {verdict.shape}; expected bool of shape {live.shape}")
            mask[live] = verdict
        else:
            ids = read_ids(where)
            if len(ids) * _FEW < self.top:
                slots = self._slots.find(ids, self.ids)
                mask[slots[slots >= 0]] = True
            else:
                mask[:] = np.isin(self.ids[: self.top], ids)
        return mask

    def put(self, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Stores new ids (n,) with prepared rows (n, dim); returns their slots (n,) int64, lowest free ones first."""
        free = np.flatnonzero(self.ids[: self.top] < 0)[: len(ids)]
        slots = np.concatenate((free, np.arange(self.top, self.top + len(ids) - len(free))))
        self.top = max(self.top, int(slots[-1]) + 1)
        self._reserve(self.top)
        codes = self.encode(rows)
        self.ids[slots] = ids
        for name, array in self.codes.items():
            array[slots] = codes[name]
        self._slots.put(ids, slots, self.ids)
        self._count += len(ids)
        self._touch(slots)
        return slots

    def wipe(self, slots: np.ndarray) -> None:
        """Frees slots (n,): neither the ids nor the numbers stay behind."""
        self._count -= len(slots)
        self.ids[slots] = -1
        for array in self.codes.values():
            array[slots] = 0
        self._touch(slots)

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes of each array, by name."""
        return {"lookup": self._slots.nbytes, **{name: array.nbytes for name, array in self.columns().items()}}

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays that have a row for each slot."""
        return {"ids": self.ids, **self.codes}

    def move(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """Moves what is in slots (n,) to `targets` (n,), which are free or among them."""
        left = np.setdiff1d(sources, targets)
        for array, free in ((self.ids, -1), *((array, 0) for array in self.codes.values())):
            array[targets] = array[sources]
            array[left] = free
        self._slots.put(self.ids[targets], targets, self.ids)
        self._touch(np.append(sources, targets))

    def shrink(self) -> None:
        """Ends after the last slot in use, and gives back the memory behind it."""
        self.top = int(self.live().max(initial=-1)) + 1
        self.ids = shortened(self._empty, self.ids, self.top)
        self.codes = {name: shortened(self._empty, array, self.top) for name, array in self.codes.items()}

    def restore(self, ids: np.ndarray, codes: Codes) -> None:
        """Takes over ids (top,) with -1 where free, and the codes (top, ...) of a saved index."""
        self.ids = placed(self._empty, ids)
        self.codes = {name: placed(self._empty, codes[name]) for name in self.codec.fields}
        self.top = len(ids)
        self._count = len(self.live())
        self._slots.read(self.ids)

    def learn(self, rows: np.ndarray) -> None:
        """Fits the codec to the prepared vectors (n, dim) that come first, if these are the first."""
        if not self._count and self.codec.learned:
            self.codec.learn(rows)
            for name in self.codec.learned:
                self.ledger.touch_name(f"learned/{name}")

    def reserve(self, count: int) -> None:
        """Makes room for so many more ids, so that many small additions need no more of it than one."""
        free = self.top - self._count
        self._reserve(self.top + max(0, count - free))

    def _reserve(self, capacity: int) -> None:
        capacity = capacity if capacity <= len(self.ids) else max(capacity, 64)
        self.ids = grown(self._empty, self.ids, capacity, -1)
        self.codes = {name: grown(self._empty, array, capacity, 0) for name, array in self.codes.items()}

    def _touch(self, slots: np.ndarray) -> None:
        self.ledger.touch("ids", slots)
        self.ledger.touch(self.codec.part, slots)


def read_ids(ids) -> np.ndarray:
    """Ids of a caller as (n,) int64. Raises InvalidIdError when one is not an integer in 0 ... 2**63 - 1."""
    if not isinstance(ids, np.ndarray):
        try:
            ids = [ids] if isinstance(ids, int | np.integer) else list(ids)
        except TypeError:
            raise InvalidIdError(f"ids are a list of integers in 0 ... 2**63 - 1, not {ids!r}") from None
    given = np.asarray(ids)
    if given.size == 0:
        return np.empty(0, np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise InvalidIdError(f"ids are a list of integers in 0 ... 2**63 - 1, not {given.dtype} of shape {given.shape}")
    if given.min() < 0 or given.max() > _LAST:
        raise InvalidIdError(f"ids from {given.min()} to {given.max()}; every id is in 0 ... 2**63 - 1")
    return given.astype(np.int64)


def read_distinct_ids(ids) -> np.ndarray:
    """`read_ids`, and DuplicateIdError when one is named twice."""
    given = read_ids(ids)
    ordered = np.sort(given)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        raise DuplicateIdError(f"id {ordered[twice[0]]} is named twice in one call")
    return given
