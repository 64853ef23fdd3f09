"""What was measured of one kernel at one shape class, in seconds a run.

Clocks can be coarse (a browser's may step by 0.1 ms), so runs are added up until they took a given span, and that makes one sample.
What is known is the median of the last samples: one run that was interrupted does not move it.
"""

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

from ..errors import KernelError

WINDOW = 5  # samples that count
RUNS = 1024  # that make a sample however short they were


class Tally:
    def __init__(self) -> None:
        self.recent: list[float] = []  # samples, oldest first, at most WINDOW
        self.samples = 0  # since the current round began, the first included, which only warms the engine up
        self.silent = 0  # offers since anything was recorded
        self._seconds, self._runs = 0.0, 0  # towards the next sample

    @property
    def latency(self) -> float | None:
        """Seconds a run; None where nothing was measured."""
        return median(self.recent) if self.recent else None

    def add(self, seconds: float, runs: int, span: float, in_round: bool) -> bool:
        """Whether these runs completed a sample. The first one of a round does not count: it warms the engine up."""
        self.silent = 0
        self._seconds += seconds
        self._runs += runs
        if self._seconds < span and self._runs < RUNS:
            return False
        sample, self._seconds, self._runs = self._seconds / self._runs, 0.0, 0
        self.samples += 1
        if not in_round:
            self.recent = [*self.recent, sample][-WINDOW:]
        elif self.samples > 1:  # what was measured before the round is forgotten only when there is something newer
            self.recent = [sample] if self.samples == 2 else [*self.recent, sample][-WINDOW:]
        return True

    def begin(self) -> None:
        """A new round."""
        self.samples = self.silent = self._runs = 0
        self._seconds = 0.0

    def state(self) -> dict[str, Any]:
        """JSON; ``of`` makes the same again, to the bit."""
        return {"recent": list(self.recent), "samples": self.samples, "silent": self.silent, "seconds": self._seconds, "runs": self._runs}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Tally":
        """KernelError where that is no state of a tally."""
        tally = cls()
        tally.recent = [seconds_of(value) for value in state["recent"]][-WINDOW:]
        tally.samples, tally.silent, tally._runs = (count_of(state[name]) for name in ("samples", "silent", "runs"))
        tally._seconds = seconds_of(state["seconds"])
        return tally


def seconds_of(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise KernelError(f"a latency is a number of seconds of 0 or more, not {value!r}")
    return float(value)


def count_of(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise KernelError(f"{value!r} is no count")
    return value
