"""Timing calls with a clock that may be coarse: a page's moves in steps of 0.005 to 0.1 ms."""

from collections.abc import Callable
from functools import cached_property

from ..config import Clock

STEPS = 10  # of the clock that make a time worth something, measured in one go
READS = 5000  # of a clock that does not move, until it is taken for one that has no steps
RUNS = 1024  # in one go at most


class Stopwatch:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @cached_property
    def step(self) -> float:
        """Seconds by which the clock moves; 0 where it stands still."""
        steps, before = [], self._clock.elapsed_ms()
        for _ in range(READS):
            now = self._clock.elapsed_ms()
            if now != before:
                steps.append(now - before)
                before = now
                if len(steps) == 4:
                    break
        return sorted(steps[1:])[len(steps[1:]) // 2] / 1000 if len(steps) > 1 else 0.0  # the first was under way already

    @property
    def together(self) -> float:
        """Seconds that tell something about runs timed in one go: the error is a step or less."""
        return STEPS * self.step

    @property
    def scattered(self) -> float:
        """The same for runs timed one by one and added up: their errors add up as well, as the root of their number."""
        return STEPS * STEPS * self.step

    def time(self, call: Callable[[], None], repeatable: bool) -> tuple[float, int]:
        """(seconds, runs) of a call, made once, or as often as the clock needs."""
        wanted = self.together  # measured before the clock is read
        runs, start = 1, self._clock.elapsed_ms()
        call()
        taken = self._clock.elapsed_ms() - start
        while repeatable and taken < wanted * 1000 and runs < RUNS:
            for _ in range(runs):
                call()
            runs *= 2
            taken = self._clock.elapsed_ms() - start
        return taken / 1000, runs
