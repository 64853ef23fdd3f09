"""An index as segments and as a file."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from . import segments as seg
from .accelerate import Accelerator
from .codec import Codec
from .errors import CorruptSegmentError, ParameterError, SegmentError
from .metric import Metric
from .rescore import Originals
from .table import VectorTable


class SavedIndex:
    """The half of an index that writes and reads it."""

    kind: str  # what the head segment calls this class
    parts: tuple[str, ...] = ()  # what each run of slots is saved as, besides its ids and vectors or codes
    _metric: Metric
    _ledger: seg.Ledger
    _codec: Codec
    _table: VectorTable

    def segments(self, *, vectors: bool = True) -> dict[str, bytes]:
        """The whole index as named segments. Without `vectors` whoever loads it must bring them from elsewhere."""
        return self._emit(None, vectors)

    def changes(self, *, vectors: bool = True) -> seg.Changes:
        """What changed since the changes that `mark_saved` last confirmed. Until it is called, they are given again and again."""
        stale, removed = self._ledger.hand_out(self._names(vectors))
        if not stale and not removed and seg.HEAD in self._ledger.saved:
            return seg.Changes({}, ())
        return seg.Changes(self._emit(stale, vectors), tuple(sorted(removed)))

    def mark_saved(self) -> None:
        """Says that what `changes` last gave is stored for good. What the index went through since then still counts as changed."""
        self._ledger.mark_saved()

    @classmethod
    def from_segments(
        cls,
        segments: Mapping[str, bytes],
        *,
        vectors: Callable[[np.ndarray], np.ndarray] | None = None,
        originals: Originals | None = None,
        accelerator: Accelerator | None = None,
    ):
        """The index that these segments were made of. It answers as that one did.

        vectors: a callable from ids (n,) int64 to their vectors (n, dim); needed for segments that were made without them.
        Raises CorruptSegmentError, NewerSegmentError; SegmentError for segments of another kind of index.
        """
        settings, payloads = seg.open_segments(segments)
        if settings.get("kind") != cls.kind:
            raise SegmentError(f"these segments hold an index of kind {settings.get('kind')!r}; {cls.__name__} reads {cls.kind!r}")
        try:
            top, upper = settings.pop("top"), settings.pop("upper")
            del settings["kind"]
            index = cls(**settings, originals=originals, accelerator=accelerator)
            if any(isinstance(count, bool) or not isinstance(count, int) or count < 0 for count in (top, upper)):
                raise ParameterError(f"{top} slots and {upper} upper layers")
            index._restore(payloads, top, upper, vectors)
        except (KeyError, TypeError, ParameterError) as error:
            raise CorruptSegmentError(f"the head segment's settings do not fit: {error!r}") from None
        index._ledger.hand_out(index._names(vectors is None))
        index.mark_saved()
        return index

    def save(self, target: str | os.PathLike | BinaryIO) -> None:
        """Writes the whole index to a path or an open binary file. A path is replaced in one step, or left as it was."""
        content = seg.pack_file(self.segments())
        if hasattr(target, "write"):
            target.write(content)
            return
        path = Path(target)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.replace(path)

    @classmethod
    def load(cls, source: str | os.PathLike | BinaryIO, *, accelerator: Accelerator | None = None):
        """Reads what `save` wrote. A store of segments has none of it yet: `changes` gives it all.

        Raises CorruptSegmentError, NewerSegmentError, SegmentError.
        """
        content = source.read() if hasattr(source, "read") else Path(source).read_bytes()
        index = cls.from_segments(seg.unpack_file(content), accelerator=accelerator)
        index._ledger.saved = set()
        return index

    def _settings(self) -> dict:
        raise NotImplementedError

    def _upper(self) -> int:
        return 0

    def _pack(self, part: str, run: str) -> bytes:
        if part == "learned":
            return self._codec.learned[run].tobytes()
        slots = slice(int(run) * seg.RUN, min((int(run) + 1) * seg.RUN, self._table.top))
        if part == "ids":
            return self._table.ids[slots].astype("<i8").tobytes()
        return b"".join(self._table.codes[name][slots].tobytes() for name in self._codec.saved)

    def _restore(self, payloads: Mapping[str, bytes], top: int, upper: int, vectors: Callable | None) -> None:
        runs = range(-(-top // seg.RUN))
        sizes = [min(seg.RUN, top - run * seg.RUN) for run in runs]
        ids = np.full(top, -1, np.int64)
        for name, array in self._codec.learned.items():
            array[:] = seg.read_array(f"learned/{name}", payloads[f"learned/{name}"], array.dtype.str, len(array))
        codes = {name: np.zeros((top, *shape), dtype) for name, (shape, dtype) in self._codec.fields.items()}
        for run, size in zip(runs, sizes, strict=True):
            part = slice(run * seg.RUN, run * seg.RUN + size)
            ids[part] = seg.read_array(f"ids/{run}", payloads[f"ids/{run}"], "<i8", size)
            live = np.flatnonzero(ids[part] >= 0)
            if vectors is None or self._codec.part != "vectors":
                self._read_codes(f"{self._codec.part}/{run}", payloads, {name: array[part] for name, array in codes.items()})
            elif len(live):
                brought, squares = self._metric.read(vectors(ids[part][live]), "vectors")
                for name, made in self._codec.encode(self._metric.prepare(brought, squares)).items():
                    codes[name][part.start + live] = made
        if ids.min(initial=0) < -1 or len(np.unique(ids[ids >= 0])) != (ids >= 0).sum():
            raise CorruptSegmentError("the segments name an id twice, or one below zero")
        self._table.restore(ids, codes)

    def _read_codes(self, name: str, payloads: Mapping[str, bytes], codes: Mapping[str, np.ndarray]) -> None:
        """Fills the codes of one run, by field, with what its segment holds."""
        at = 0
        for field in self._codec.saved:
            array = codes[field]
            array[...] = seg.read_array(name, payloads[name][at : at + array.nbytes], array.dtype.str, array.size).reshape(array.shape)
            at += array.nbytes
        if at != len(payloads[name]):
            raise CorruptSegmentError(f"segment {name} has {len(payloads[name])} bytes; its codes have {at}")
        for field, made in self._codec.derived(codes).items():
            codes[field][...] = made

    def _names(self, vectors: bool) -> list[str]:
        parts = [part for part in ("ids", self._codec.part, *self.parts) if vectors or part != "vectors"]
        runs = range(-(-self._table.top // seg.RUN))
        learned = [f"learned/{name}" for name in self._codec.learned]
        return learned + [f"{part}/{run}" for part in parts for run in runs] + [f"upper/{level}" for level in range(1, self._upper() + 1)]

    def _emit(self, wanted: set[str] | None, vectors: bool) -> dict[str, bytes]:
        names = self._names(vectors)
        checksums = self._ledger.checksums
        emitted = {}
        for name in names:
            if wanted is None or name in wanted or name not in checksums:
                segment = seg.frame(self._pack(*name.split("/")))
                checksums[name] = seg.checksum(segment)
                if wanted is None or name in wanted:
                    emitted[name] = segment
        settings = {**self._settings(), "kind": self.kind, "top": self._table.top, "upper": self._upper()}
        emitted[seg.HEAD] = seg.frame_head(settings, {name: checksums[name] for name in names})
        return emitted
