"""Which of the kernels for one operation serves at one shape class: the fastest, by what was measured here.

Time goes in rounds. In a round every candidate is tried a few times, in turn; one that is far behind is let go after two samples.
Then the fastest serves. It is measured now and then, and a new round begins when its latency has drifted, and each time its uses have
doubled. After the first round a hundred ordinary runs are between two that are spent on trying.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from ..errors import KernelError
from .statistics import Tally, count_of, seconds_of

TRIES = 5  # samples of a candidate in a round, after the one that warms it up
HOPELESS = 3.0  # times the latency of the best: not tried further in this round
BETTER = 0.95  # of the latency of what serves: enough to take its place
DRIFT = 2.0  # times what it was, or a part of it: reason for a new round
SHARE = 100  # ordinary runs for one that is spent on trying
RETRY = 1000  # uses before the second round
SILENT = 8  # offers of a candidate without a latency recorded: not tried further in this round
FOREVER = 1 << 62


class Selector:
    """candidates: names; the last one is what serves where all others are excluded. now_ms: UTC, for ``since``."""

    def __init__(self, candidates: Sequence[str], now_ms: Callable[[], int]) -> None:
        self.tallies = {name: Tally() for name in candidates}
        self.excluded: dict[str, str] = {}  # name to why
        self.serves: str | None = None  # None until the first round is over
        self.since = 0  # UTC ms, since it serves
        self.rest = 0  # uses until the next turn: ``next`` need not be asked before. The caller counts it down.
        self.trying = True  # whether a round is on
        self.changes = 0  # decisions made by this object
        self._uses, self._granted = 0, 0  # up to the last turn; what ``rest`` was then
        self._retry = RETRY  # uses at which the next round begins
        self._decided = 0.0  # latency of what serves when it was decided, seconds
        self._now_ms = now_ms

    @property
    def uses(self) -> int:
        return self._uses + self._granted - self.rest

    @property
    def best(self) -> str:
        """What serves; while nothing was decided, the fastest so far, else the first."""
        if self.serves is not None:
            return self.serves
        open_ = self._open()
        return min(open_, key=lambda name: (self.latency(name), open_.index(name)))

    def turn(self) -> None:
        """A use that is not counted down from ``rest``: ``next`` says by which."""
        self._uses += 1
        self._take_rest(SHARE)
        if not self.trying and self.uses >= self._retry:
            self._begin()

    def next(self) -> str:
        """The one to use, and to measure, at this turn."""
        if self.trying:
            waiting = [name for name in self._open() if self._wanted(name)]
            if waiting:
                name = min(waiting, key=lambda name: self.tallies[name].samples)
                self.tallies[name].silent += 1
                return name
            self._decide()
        return self.best

    def record(self, name: str, seconds: float, runs: int = 1, span: float = 0.0) -> None:
        """What these runs of a candidate took; ``span`` is how long runs must take together to tell anything. KernelError."""
        if name not in self.tallies:
            raise KernelError(f"{name!r} is none of the kernels {', '.join(self.tallies)}")
        tally = self.tallies[name]
        complete = tally.add(seconds_of(seconds), runs, span, in_round=self.trying)
        if self.trying:
            if not any(self._wanted(each) for each in self._open()):
                self._decide()
        elif complete and name == self.serves:
            latency = median(tally.recent[-3:])
            if len(tally.recent) >= 3 and not self._decided / DRIFT <= latency <= self._decided * DRIFT:
                self._begin()
        self._take_rest(SHARE * runs)

    def exclude(self, name: str, why: str) -> None:
        """Never chosen from here on, unless it is the last of the candidates and no other is left."""
        self.excluded[name] = why
        if name == self.serves and name not in self._open():
            self.serves = None
            self._take_rest(0)
            if any(self.tallies[each].recent for each in self._open()):
                self._decide()
            else:
                self._begin()

    def _open(self) -> list[str]:
        return [name for name in self.tallies if name not in self.excluded] or [list(self.tallies)[-1]]

    def latency(self, name: str) -> float:
        latency = self.tallies[name].latency
        return float("inf") if latency is None else latency

    def _wanted(self, name: str) -> bool:
        """Whether this round wants more samples of it."""
        tally = self.tallies[name]
        if tally.samples > TRIES or tally.silent >= SILENT:
            return False
        others = [self.latency(each) for each in self._open() if each != name]
        return tally.samples < 3 or not others or min(tally.recent) <= HOPELESS * min(others)

    def _take_rest(self, uses: int) -> None:
        self._uses = self.uses
        self._granted = self.rest = 0 if self.serves is None else FOREVER if len(self._open()) == 1 else uses

    def _begin(self) -> None:
        self.trying = True
        for tally in self.tallies.values():
            tally.begin()

    def _decide(self) -> None:
        open_ = self._open()
        fastest = min(open_, key=lambda name: (self.latency(name), open_.index(name)))
        if self.serves is None or self.latency(fastest) < BETTER * self.latency(self.serves):
            self.serves, self.since = fastest, self._now_ms()
        latency = self.tallies[self.serves].latency
        self._decided = latency if latency is not None else 0.0
        self.trying = False
        self._take_rest(SHARE)
        self._retry = max(RETRY, 2 * self.uses)
        self.changes += 1

    def state(self) -> dict[str, Any]:
        """JSON; ``restore`` makes the same again, to the bit. What is excluded is found out anew."""
        return {
            "serves": self.serves,
            "since": self.since,
            "uses": self.uses,
            "rest": self.rest,
            "trying": self.trying,
            "retry": self._retry,
            "decided": self._decided,
            "kernels": {name: tally.state() for name, tally in self.tallies.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """KernelError where that is no state of these candidates; then nothing changed."""
        try:
            tallies = {name: Tally.of(each) for name, each in state["kernels"].items()}
            counts = {name: count_of(state[name]) for name in ("since", "uses", "rest", "retry")}
            serves, trying, decided = state["serves"], state["trying"], seconds_of(state["decided"])
        except (KeyError, TypeError, AttributeError) as error:
            raise KernelError(f"these are no statistics of kernels: {error!r}") from None
        if set(tallies) != set(self.tallies) or (serves is not None and serves not in tallies) or type(trying) is not bool:
            raise KernelError(f"these statistics are of {', '.join(tallies)}, not of {', '.join(self.tallies)}")
        self.tallies = {name: tallies[name] for name in self.tallies}
        self.serves, self.trying, self._decided = serves, trying, decided
        self.since, self._uses, self._retry = counts["since"], counts["uses"], counts["retry"]
        self.rest = self._granted = counts["rest"]
