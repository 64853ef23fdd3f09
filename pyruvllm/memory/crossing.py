"""From how many vectors on a graph is the better index than a scan, and how much of its building fits in one slice: both measured.

Nothing is timed for its own sake: what is counted are searches and slices of work that happened anyway.
"""

from collections import deque

from ..config import Clock, IndexConfig

SAMPLES = 32  # the latest, that a cost is made of
FEWEST = 4  # samples that say something
WORTH_MS = 1.0  # of a scan: below it nobody notices what a graph would save, and every write would pay for links
AHEAD = 2.0  # times cheaper the other way must be, so that the index does not go to and fro
WALKED = 16  # vectors that a walk looks at for each that it keeps in sight, until one was measured
SLICE_MS = 15.0  # of work between two turns of the event loop
FIRST_SLICE = 16  # steps, before anything was measured
LARGEST_SLICE = 512


class Cost:
    """Milliseconds a unit over the latest samples, without the slowest quarter: those met something else."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)

    def note(self, ms: float, units: int = 1) -> None:
        self._samples.append(ms / units)

    def forget(self) -> None:
        self._samples.clear()

    @property
    def ms(self) -> float | None:
        """None as long as too little is known: the clock of a page may be too coarse to see one search."""
        kept = sorted(self._samples)[: -(-len(self._samples) * 3 // 4)]
        return sum(kept) / len(kept) if len(self._samples) >= FEWEST and kept[-1] > 0 else None


class Crossing:
    """What searches cost on this machine: ``scan`` a vector, ``walk`` a search. Shared by the collections of a memory."""

    def __init__(self, config: IndexConfig):
        self.config = config
        self.scan, self.walk = Cost(), Cost()
        self.kept = config.ef_search  # in sight by the latest search

    def at(self) -> int:
        """A collection of more vectors than this is searched faster in a graph. Between the two bounds of the config."""
        low, high = self._bounds()
        return high if self.scan.ms is None else int(min(high, max(low, self._measured())))

    def outgrown(self, count: int, begun: bool = False) -> bool:
        """Whether a scan of ``count`` vectors should become a graph. One ``begun`` is given up only when it is clearly no better."""
        low, high = self._bounds()
        if not begun or self.scan.ms is None or not low < count <= high:
            return count > self.at()
        return count * AHEAD > self._measured()

    def shrunk(self, count: int) -> bool:
        """Whether a graph of ``count`` vectors should become a scan again. Without a measurement: when it is below both bounds."""
        return count * AHEAD**2 < (self._bounds()[0] if self.scan.ms is None else self.at())

    def _bounds(self) -> tuple[int, int]:
        return min(self.config.exact_at_least, self.config.exact_below), self.config.exact_below

    def _measured(self) -> float:
        """The crossing, wherever it lies."""
        scan, walk = self.scan.ms, self.walk.ms
        assert scan is not None
        return max(WORTH_MS, AHEAD * (WALKED * self.kept * scan if walk is None else walk)) / scan


class Pace:
    """How many steps of a long job make a slice of ``SLICE_MS``, from how long the slices before took."""

    def __init__(self, clock: Clock, first: int = FIRST_SLICE):
        self._clock, self.steps, self._start = clock, first, 0.0

    def __enter__(self) -> int:
        """The steps to take now."""
        self._start = self._clock.elapsed_ms()
        return self.steps

    def __exit__(self, failed: object, *_: object) -> None:
        took = self._clock.elapsed_ms() - self._start
        if took > 0 and failed is None:
            self.steps = int(max(1, min(self.steps * SLICE_MS / took, 2 * self.steps, LARGEST_SLICE)))
