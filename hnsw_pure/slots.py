"""Where ids are: two sorted arrays for most of them, a dict for those that came lately."""

import sys

import numpy as np

_LATE = 1024  # ids in the dict at least, before they are sorted in
_SHARE = 16  # one in so many may be in the dict
_INTEGER = 32  # bytes of an int of Python's


class SlotMap:
    """From ids to slots, in 12 bytes an id.

    The column of ids by slot says whether an entry still holds, so a deletion changes nothing here.
    """

    def __init__(self) -> None:
        self._ids = np.empty(0, np.int64)  # ascending
        self._slots = np.empty(0, np.int32)
        self._late: dict[int, int] = {}  # these come before those that were sorted in

    @property
    def nbytes(self) -> int:
        return self._ids.nbytes + self._slots.nbytes + sys.getsizeof(self._late) + 2 * _INTEGER * len(self._late)

    def find(self, ids: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Slots of ids (n,) int64, (n,) int64, -1 where there is none; column: the ids by slot, (capacity,) int64."""
        slots = np.full(len(ids), -1, np.int64)
        if len(self._ids):
            at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
            slots = np.where(self._ids[at] == ids, self._slots[at], slots)
        if self._late:
            slots = np.array([self._late.get(id, slot) for id, slot in zip(ids.tolist(), slots.tolist(), strict=True)], np.int64)
        slots[slots >= len(column)] = -1
        held = np.flatnonzero(slots >= 0)
        slots[held[column[slots[held]] != ids[held]]] = -1
        return slots

    def put(self, ids: np.ndarray, slots: np.ndarray, column: np.ndarray) -> None:
        """Says that ids (n,) are in slots (n,) now, as the column does already."""
        if len(self._late) + len(ids) > max(_LATE, len(self._ids) // _SHARE):
            self.read(column)
        else:
            self._late.update(zip(ids.tolist(), slots.tolist(), strict=True))

    def read(self, column: np.ndarray) -> None:
        """Takes all from the column."""
        live = np.flatnonzero(column >= 0)
        order = live[np.argsort(column[live], kind="stable")]
        self._ids, self._slots, self._late = column[order], order.astype(np.int32), {}
