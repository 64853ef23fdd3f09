"""The vectors of one collection, ready to be searched: an exact scan while they are few, HNSW above that.

No write waits for a graph. What comes in is *fresh*: scanned beside the graph until a slice of upkeep links it; what goes is *gone*: passed
over until a slice takes it out. The change from scan to graph, and from one codec to another, is made in slices too, while what was there
goes on answering. Only HNSW is saved, as segments; the rows alone are enough to build it anew.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

import numpy as np

from hnsw_pure import HNSW, BruteForce, CorruptSegmentError, Explanation, Statistics
from hnsw_pure.accelerate import Accelerator

from ..config import Clock, IndexConfig
from .crossing import Crossing, Pace

AT_ONCE = 8  # vectors at most that are taken out of a graph without waiting for a slice
SAMPLE = 1024  # vectors that a codec learns from

Originals = Callable[[np.ndarray], np.ndarray]  # numbers (n,) int64 to their vectors (n, dimension), as the rows have them


class VectorIndex:
    """Numbers of records and their vectors, by cosine.

    originals: the vectors as the rows have them; without these there is no codec but float32
    codec: of a graph: "float32", "int8", "bit1", or "auto". A scan keeps float32.
    crossing: what searches cost here, and so how many vectors a scan is good for; accelerator: compiled code that searches and links.
    """

    def __init__(
        self,
        dimension: int,
        config: IndexConfig,
        clock: Clock,
        *,
        codec: str = "auto",
        originals: Originals | None = None,
        crossing: Crossing | None = None,
        accelerator: Accelerator | None = None,
    ):
        self.dimension, self.config, self.wanted = dimension, config, codec
        self.crossing = crossing or Crossing(config)
        self._clock, self._originals, self._accelerator = clock, originals, accelerator
        self._current: BruteForce | HNSW = BruteForce(dimension, accelerator=accelerator)
        self._fresh: BruteForce | None = None  # beside a graph: what is not in it yet
        self._gone: dict[int, None] = {}  # in the graph, but not in the collection any more
        self._growing: HNSW | None = None  # takes over when it has everything
        self._waiting: dict[int, None] = {}  # to be linked, the next one last: into ``_growing``, else out of ``_fresh``
        self._pace = Pace(clock)
        self.stored = False  # whether a store has segments of it, so that what changed is all it needs

    def __len__(self) -> int:
        return len(self._current) - len(self._gone) + len(self._fresh or ())

    def __contains__(self, number: int) -> bool:
        return (number in self._current and number not in self._gone) or (self._fresh is not None and number in self._fresh)

    @property
    def kind(self) -> str:
        """ "exact" or "hnsw"."""
        return "hnsw" if isinstance(self._current, HNSW) else "exact"

    @property
    def codec(self) -> str:
        """How the vectors are kept now."""
        return self._current.codec

    @property
    def best_codec(self) -> str:
        """What ``wanted`` comes to where it is "auto": int8 where compiled code reads it, else float32.

        Numpy has to unpack codes: among 5,000 x 768 at ef 64 a search takes 0.4 ms over float32, 2.2 over int8, recall@10 0.996 both.
        """
        if self.wanted != "auto":
            return self.wanted
        return "int8" if "int8" in getattr(self._accelerator, "codecs", ()) else "float32"

    @property
    def outgrown(self) -> bool:
        """Whether a scan is no longer the better way."""
        return self.kind == "exact" and self.crossing.outgrown(len(self), begun=self._growing is not None)

    @property
    def shrunk(self) -> bool:
        """Whether the graph is no longer worth its upkeep."""
        return self.kind == "hnsw" and self.crossing.shrunk(len(self))

    @property
    def recoded(self) -> bool:
        """Whether the graph is to have another codec than it has. "auto" is content with any."""
        return self.kind == "hnsw" and self.wanted not in ("auto", self.codec)

    @property
    def growth(self) -> tuple[int, int] | None:
        """(vectors linked, vectors in all) of a graph that is being built."""
        return None if self._growing is None else (len(self._growing), len(self))

    @property
    def unsettled(self) -> int:
        """Vectors that a graph has yet to take in or let go."""
        return len(self._waiting) + len(self._gone)

    def expect(self, count: int) -> None:
        """Makes room for so many more vectors."""
        (self._current if self._fresh is None else self._fresh).expect(count)

    def add(self, numbers: Sequence[int] | np.ndarray, vectors: np.ndarray) -> None:
        """Vectors (n, dimension) of numbers that are not in it."""
        if not len(numbers):
            return
        if self.kind == "hnsw" and self._fresh is None:
            self._fresh = BruteForce(self.dimension, accelerator=self._accelerator)
        (self._current if self._fresh is None else self._fresh).add(np.asarray(numbers, np.int64), vectors)
        if self._fresh is not None or self._growing is not None:
            self._waiting.update(dict.fromkeys(int(number) for number in numbers))

    def remove(self, numbers: Sequence[int]) -> None:
        """Numbers that are not in it are passed over."""
        if self._fresh is not None:
            self._fresh = _without(self._fresh, numbers) or None
        for number in numbers:
            self._waiting.pop(int(number), None)
        if self._growing is not None:
            _without(self._growing, numbers)
        held = [int(number) for number in numbers if number in self._current and number not in self._gone]
        if self.kind == "exact" or len(held) + len(self._gone) <= AT_ONCE:
            _without(self._current, [*held, *self._gone])
            self._gone = {}
        else:
            self._gone.update(dict.fromkeys(held))

    def search(self, vector: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest whose number is ``allowed``: (numbers (n,) int64, cosines (n,) float32), best first, n <= k."""
        k = min(k, len(self) if allowed is None else len(allowed))
        if k == 0 or not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        kept, start = max(k, self.config.ef_search), self._clock.elapsed_ms()
        numbers, cosines = self._searched(self._current, vector, k, kept, self._passed(allowed))
        if allowed is None and not self._gone:
            self._note(self._clock.elapsed_ms() - start, kept)
        if self._fresh is not None:
            fresh = self._searched(self._fresh, vector, k, kept, allowed)
            numbers, cosines = np.concatenate((numbers, fresh[0])), np.concatenate((cosines, fresh[1]))
            order = np.lexsort((numbers, -cosines))[:k]
            numbers, cosines = numbers[order], cosines[order]
        return numbers, cosines

    def within(self, vector: np.ndarray, score: float, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """All whose cosine is at least ``score``, as far as a search finds them; else as ``search``."""
        found = [self._current.search_range(vector, score, where=self._passed(allowed))]
        if self._fresh is not None:
            found.append(self._fresh.search_range(vector, score, where=allowed))
        numbers, cosines = (np.concatenate(parts) for parts in zip(*((each.ids[0], each.scores[0]) for each in found), strict=True))
        order = np.lexsort((numbers, -cosines))
        return numbers[order], cosines[order]

    def explain(self, vector: np.ndarray, k: int) -> Explanation:
        """How a search for a vector (dimension,) goes, in numbers of records. What a graph has not taken in yet is left out."""
        return self._current.explain(vector, k, max(k, self.config.ef_search), self._passed(None))

    def statistics(self) -> Statistics:
        """What the index is made of, without what a graph has not taken in yet."""
        return self._current.statistics()

    @property
    def nbytes(self) -> int:
        """Of its arrays, those of a graph that is being built too."""
        return sum(index.nbytes for index, _ in self._parts())

    def _passed(self, allowed: np.ndarray | None) -> np.ndarray | Callable[[np.ndarray], np.ndarray] | None:
        """The filter on the graph: what is gone does not pass."""
        if not self._gone:
            return allowed
        gone = np.fromiter(self._gone, np.int64, len(self._gone))
        return np.setdiff1d(allowed, gone) if allowed is not None else lambda ids: ~np.isin(ids, gone)

    def _searched(self, index: BruteForce | HNSW, vector: np.ndarray, k: int, kept: int, where: object) -> tuple[np.ndarray, np.ndarray]:
        found = index.search(vector[None], k, kept, where)  # type: ignore[arg-type]
        hits = found.ids[0] >= 0
        numbers, cosines = found.ids[0][hits], found.scores[0][hits]
        if self._accelerator is not None or index.codec != "float32":  # whose scores depend on nothing but the query and the vector
            return numbers, cosines
        cosines = _cosines(index.vectors(numbers), vector)
        order = np.lexsort((numbers, -cosines))
        return numbers[order], cosines[order]

    def _note(self, ms: float, kept: int) -> None:
        self.crossing.kept = kept
        if self.kind == "hnsw":
            self.crossing.walk.note(ms)
        elif len(self):
            self.crossing.scan.note(ms, len(self))

    def cosines(self, vector: np.ndarray, numbers: Sequence[int]) -> dict[int, float]:
        """The cosine of ``vector`` and each of the numbers that are in it."""
        given: dict[int, float] = {}
        for index, gone in self._parts():
            held = [number for number in numbers if number in index and number not in gone]
            if held:
                given.update(zip(held, _cosines(index.vectors(held), vector).tolist(), strict=True))
        return given

    # Upkeep, in slices

    def grow(self) -> int:
        """One slice of the change to a graph, or to one of another codec; returns how many vectors it has yet to take in."""
        if self._growing is None:
            self._begin()
        assert self._growing is not None
        numbers = self._linked(self._growing, self._vectors)
        if numbers:
            self._probe(self._growing, self._vectors(np.array(numbers[-1:], np.int64)))
        return len(self._waiting)

    def _begin(self) -> None:
        numbers = self._numbers()
        self._growing, self._waiting = self._hnsw(), dict.fromkeys(numbers[::-1].tolist())
        learned = self._growing.codec != "float32"
        self._growing.expect(len(numbers), self._vectors(numbers[:: -(-len(numbers) // SAMPLE)]) if learned and len(numbers) else None)

    def _numbers(self) -> np.ndarray:
        """All that are in it, ascending, (n,) int64."""
        numbers = self._current.ids
        if self._gone:
            numbers = np.setdiff1d(numbers, np.fromiter(self._gone, np.int64, len(self._gone)))
        return np.sort(numbers if self._fresh is None else np.concatenate((numbers, self._fresh.ids)))

    def _vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, dimension) float32, whole: codes are not made of codes."""
        if self.kind == "hnsw" and self._originals is not None:
            return self._originals(numbers)
        rows = np.empty((len(numbers), self.dimension), np.float32)
        for index, gone in self._parts():
            held = [place for place, number in enumerate(numbers.tolist()) if number in index and number not in gone]
            rows[held] = index.vectors(numbers[held])
        return rows

    def _parts(self) -> list[tuple[BruteForce | HNSW, Collection[int]]]:
        """Where its vectors are, and which of those there do not count."""
        return [(self._current, self._gone), *([(self._fresh, ())] if self._fresh is not None else [])]

    def _linked(self, graph: HNSW, vectors: Originals) -> list[int]:
        """Links the next of those that wait; returns which."""
        with self._pace as steps:
            numbers = [self._waiting.popitem()[0] for _ in range(min(steps, len(self._waiting)))]
            try:
                if numbers:
                    graph.add(np.array(numbers, np.int64), vectors(np.array(numbers, np.int64)))
            except BaseException:
                self._waiting.update(dict.fromkeys(reversed(numbers)))
                raise
        return numbers

    def _probe(self, graph: HNSW, query: np.ndarray) -> None:
        """Searches what was built so far as the latest search would: what that costs decides whether it is worth going on."""
        kept, start = self.crossing.kept, self._clock.elapsed_ms()
        graph.search(query, min(kept, len(graph)), kept)
        self.crossing.walk.note(self._clock.elapsed_ms() - start)

    def settle(self) -> int:
        """One slice of bringing the graph up to date; returns for how many vectors that has yet to be done."""
        assert isinstance(self._current, HNSW) and self._growing is None
        if self._gone:
            with self._pace as steps:
                numbers = list(islice(self._gone, min(steps, len(self._current) // 2) or 1))
                _without(self._current, numbers)
            for number in numbers:
                del self._gone[number]
        elif self._fresh is not None:
            self._fresh = _without(self._fresh, self._linked(self._current, self._fresh.vectors)) or None
        return self.unsettled

    def take_over(self) -> None:
        """The grown HNSW becomes the index."""
        assert self._growing is not None and len(self._growing) == len(self)
        self._current, self._growing, self._fresh, self._gone, self._waiting = self._growing, None, None, {}, {}
        self.stored = False

    def give_up(self) -> None:
        """Forgets a graph that is being built."""
        self._growing, self._waiting = None, dict.fromkeys([] if self._fresh is None else self._fresh.ids.tolist())

    def retreat(self) -> None:
        """The graph becomes a scan again."""
        numbers = self._numbers()
        vectors, index = self._vectors(numbers), BruteForce(self.dimension, accelerator=self._accelerator)
        index.add(numbers, vectors)
        self._current, self._growing, self._fresh, self._gone, self._waiting = index, None, None, {}, {}
        self.stored = False

    def _hnsw(self) -> HNSW:
        c = self.config
        settings = {"M": c.m, "ef_construction": c.ef_construction, "ef_search": c.ef_search, "seed": c.seed, "codec": self.best_codec}
        return HNSW(self.dimension, **settings, originals=self._rescored(self.best_codec), accelerator=self._accelerator)

    def _rescored(self, codec: str) -> Originals | None:
        """Where from the last candidates are scored again: 1-bit codes need it, int8 gains 0.001 recall@10, not worth reading rows."""
        return self._originals if codec == "bit1" else None

    def unsaved(self) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """(segments to write, names of segments to remove) since ``mark_saved``, or all while no store has it; of an exact index none."""
        if not isinstance(self._current, HNSW):
            return {}, ()
        changes = self._current.changes(vectors=False)
        return (changes.written, changes.removed) if self.stored else (self._current.segments(vectors=False), ())

    def mark_saved(self) -> None:
        self.stored = True
        if isinstance(self._current, HNSW):
            self._current.mark_saved()

    def restore(self, segments: Mapping[str, bytes], codec: str, count: int) -> None:
        """The saved HNSW of ``count`` vectors, which the rows bring where it is not one of codes. Raises hnsw_pure's SegmentError."""
        index = HNSW.from_segments(segments, vectors=self._originals, originals=self._rescored(codec), accelerator=self._accelerator)
        if (index.dim, index.codec, len(index)) != (self.dimension, codec, count):
            raise CorruptSegmentError(
                f"the saved index has {len(index)} vectors of {index.dim} dimensions as {index.codec}; "
                f"{count} of {self.dimension} as {codec} belong in it"
            )
        index.ef_search = self.config.ef_search
        self._current, self.stored = index, True


def _without(index, numbers: Sequence[int]):
    """The index, after those of the numbers that were in it are deleted."""
    held = [int(number) for number in numbers if number in index]
    if held:
        index.delete(np.array(held, np.int64))
    return index


def _cosines(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Of unit rows (n, dimension) and a vector (dimension,), to the last bit the same wherever a row lies.

    A product of BLAS is not: the last rows of a block are summed in another order, so a reopened index would answer otherwise.
    """
    unit = vector / np.sqrt(np.einsum("i,i->", vector, vector))
    return np.clip(np.einsum("ij,j->i", rows, unit), -1, 1)
