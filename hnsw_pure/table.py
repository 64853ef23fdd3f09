"""The vectors and their ids, each pair in a numbered slot. A deleted pair's slot is wiped and given to the next one."""

from collections.abc import Callable, Iterable

import numpy as np

from .arrays import Empty, grown, placed, shortened
from .errors import DuplicateIdError, InvalidIdError, ParameterError, UnknownIdError
from .metric import Metric
from .segments import Ledger

Where = Iterable[int] | np.ndarray | Callable[[np.ndarray], np.ndarray]


class VectorTable:
    """Slots 0 ... top - 1, some of them free.

    ids      (capacity,) int64, -1 where free
    vectors  (capacity, dim) float32 as `Metric.prepare` gives them, zero where free
    halves   (capacity,) float32 under l2, else None
    """

    def __init__(self, metric: Metric, ledger: Ledger, empty: Empty = np.empty) -> None:
        self.metric = metric
        self.ledger = ledger
        self._empty = empty
        self.top = 0
        self.ids = empty(0, np.int64)
        self.vectors = empty((0, metric.dim), np.float32)
        self.halves = empty(0, np.float32) if metric.name == "l2" else None
        self._slots: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, id) -> bool:
        return id in self._slots

    def live(self) -> np.ndarray:
        """Slots in use, ascending, (n,) int64."""
        return np.flatnonzero(self.ids[: self.top] >= 0)

    def slots(self, ids: np.ndarray) -> np.ndarray:
        """Slots of ids (n,), (n,) int64. Raises UnknownIdError."""
        try:
            return np.array([self._slots[id] for id in ids.tolist()], np.int64)
        except KeyError as error:
            raise UnknownIdError(f"id {error.args[0]} is not in the index of {len(self)} vectors") from None

    def check_new(self, ids: np.ndarray) -> None:
        """Raises DuplicateIdError when one of ids (n,) is taken."""
        taken = next((id for id in ids.tolist() if id in self._slots), None)
        if taken is not None:
            raise DuplicateIdError(f"id {taken} is in the index already; delete it first to replace its vector")

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
            mask[:] = np.isin(self.ids[: self.top], read_ids(where))
        return mask

    def put(self, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Stores new ids (n,) with prepared rows (n, dim); returns their slots (n,) int64, lowest free ones first."""
        free = np.flatnonzero(self.ids[: self.top] < 0)[: len(ids)]
        slots = np.concatenate((free, np.arange(self.top, self.top + len(ids) - len(free))))
        self.top = max(self.top, int(slots[-1]) + 1)
        self._reserve(self.top)
        self.ids[slots] = ids
        self.vectors[slots] = rows
        if self.halves is not None:
            self.halves[slots] = self.metric.halves(rows)
        self._slots.update(zip(ids.tolist(), slots.tolist(), strict=True))
        self._touch(slots)
        return slots

    def wipe(self, slots: np.ndarray) -> None:
        """Frees slots (n,): neither the ids nor the numbers stay behind."""
        for id in self.ids[slots].tolist():
            del self._slots[id]
        self.ids[slots] = -1
        self.vectors[slots] = 0
        if self.halves is not None:
            self.halves[slots] = 0
        self._touch(slots)

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays that have a row for each slot, under the names of their attributes."""
        return {name: array for name in ("ids", "vectors", "halves") if (array := getattr(self, name)) is not None}

    def move(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """Moves what is in slots (n,) to `targets` (n,), which are free or among them."""
        left = np.setdiff1d(sources, targets)
        for name, array in self.columns().items():
            array[targets] = array[sources]
            array[left] = -1 if name == "ids" else 0
        self._slots.update(zip(self.ids[targets].tolist(), targets.tolist(), strict=True))
        self._touch(np.append(sources, targets))

    def shrink(self) -> None:
        """Ends after the last slot in use, and gives back the memory behind it."""
        self.top = int(self.live().max(initial=-1)) + 1
        for name, array in self.columns().items():
            setattr(self, name, shortened(self._empty, array, self.top))

    def restore(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Takes over ids (top,) with -1 where free, and their prepared vectors (top, dim), of a saved index."""
        self.ids = placed(self._empty, ids)
        self.vectors = placed(self._empty, vectors)
        self.halves = None if self.halves is None else placed(self._empty, self.metric.halves(vectors))
        self.top = len(ids)
        self._slots = {id: slot for slot, id in enumerate(ids.tolist()) if id >= 0}

    def _reserve(self, capacity: int) -> None:
        capacity = capacity if capacity <= len(self.ids) else max(capacity, 64)
        self.ids = grown(self._empty, self.ids, capacity, -1)
        self.vectors = grown(self._empty, self.vectors, capacity, 0)
        if self.halves is not None:
            self.halves = grown(self._empty, self.halves, capacity, 0)

    def _touch(self, slots: np.ndarray) -> None:
        self.ledger.touch("ids", slots)
        self.ledger.touch("vectors", slots)


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
    if given.min() < 0 or given.max() > np.iinfo(np.int64).max:
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
