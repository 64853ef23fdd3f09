"""How fast this machine walks, and so how many vectors a search may meet within a budget of time."""

_FIRST = 500_000.0  # vectors a second, until one walk was timed: slower than most, so that the first one is not late
_WEIGHT = 0.2  # of the newest walk


class Pace:
    """A mean over walks, newer ones counting more."""

    def __init__(self) -> None:
        self.rate = _FIRST  # vectors a second
        self._timed = False

    def visits(self, budget: float, walks: int) -> int:
        """Vectors that each of so many walks may meet, for all of them to end within `budget` seconds."""
        return max(1, min(int(budget * self.rate / walks), 2**32 - 1))

    def note(self, met: int, seconds: float) -> None:
        """Walks met so many vectors in that time."""
        if met < 1 or seconds <= 0:
            return
        rate = met / seconds
        self.rate = self.rate + _WEIGHT * (rate - self.rate) if self._timed else rate
        self._timed = True
