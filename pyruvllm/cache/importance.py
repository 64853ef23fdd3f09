"""How much a conversation matters: what is given, else whether its session is pinned, and how long nobody has spoken in it."""

from ..config import Clock
from ..errors import NotFoundError
from ..memory.session import SessionIndex
from .pool import Holding

USUAL, PINNED = 0.5, 1.0


class Importance:
    """0 ... 1. sessions: by which pinned ones are known, and when an idle one expires; without them each matters as it is given."""

    def __init__(self, sessions: SessionIndex | None, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock
        self._given: dict[str, float] = {}

    def give(self, id: str, priority: float | None) -> None:
        """None: it is left to the session."""
        if priority is not None:
            self._given[id] = priority

    def forget(self, id: str) -> None:
        self._given.pop(id, None)

    def priority(self, id: str) -> float:
        """By which the pool takes its victims; that weighs by itself how long they were unused."""
        if id in self._given or self._sessions is None:
            return self._given.get(id, USUAL)
        try:
            return PINNED if self._sessions.get(id).pinned else USUAL
        except NotFoundError:
            return USUAL  # nobody has written it down yet

    def of(self, id: str, holding: Holding) -> float:
        """By which is decided how exactly it is kept: what is neither given nor pinned fades to nothing when it is about to expire."""
        priority = self.priority(id)
        if id in self._given or priority == PINNED or self._sessions is None:
            return priority
        idle = (self._clock.elapsed_ms() - holding.used_at) / self._sessions.config.idle_ms
        return priority * max(1.0 - idle, 0.0)
