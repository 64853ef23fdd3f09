"""Whose turn it is to speak with a model: one stream at a time works with it, and the others wait.

A stream has the turn from its first piece to its last. Between two pieces it may be left lying, by somebody who broke off and holds it
still: where it was not asked for its next piece for ``PATIENCE_S`` and another waits, that one takes the turn. Whoever lost it finds out
when it goes on, and brings the model back to where it was.
"""

import asyncio
from collections import deque
from typing import Protocol

PATIENCE_S = 0.25  # that a stream may let pass between two pieces while others wait


class Speaking(Protocol):
    @property
    def cancelled(self) -> bool: ...

    def cancel(self) -> None: ...


class Turns:
    def __init__(self, patience: float = PATIENCE_S) -> None:
        self.patience = patience
        self.last: Speaking | None = None  # who brought the model to where it is
        self._holder: Speaking | None = None
        self._working = False  # whether the holder is at work, and not waiting to be asked on
        self._taken = 0  # how often somebody went to work
        self._waiting: deque[asyncio.Event] = deque()

    @property
    def free(self) -> bool:
        return self._holder is None and not self._waiting

    def holds(self, who: Speaking) -> bool:
        return self._holder is who

    async def take(self, who: Speaking) -> bool:
        """Waits for the turn and goes to work. Whether the model is as it was left, with nobody having had it in between; for one that
        is cancelled while it waits, it ends without the turn.
        """
        if self._holder is not who and not self.free:
            await self._wait(who)
            if who.cancelled:
                return False
        same = self.last is who
        self.last = self._holder = who
        self._working = True
        self._taken += 1
        return same

    def pause(self, who: Speaking) -> None:
        """It has given a piece, and may be asked for the next."""
        if self._holder is who:
            self._working = False

    def leave(self, who: Speaking) -> None:
        """It is over, or cancelled while it waits to be asked on: the next one has the turn."""
        if self._holder is who:
            self._holder, self._working = None, False
            self._call()

    def stopped(self, who: Speaking) -> None:
        """One that is not at work ends now, else others would wait for it."""
        if not self._working:
            self.leave(who)
        for waiting in self._waiting:
            waiting.set()

    def end(self) -> None:
        """What is being said ends, since what the model has of it goes."""
        if self._holder is not None:
            self._holder.cancel()
        self.last = None

    async def _wait(self, who: Speaking) -> None:
        mine = asyncio.Event()
        self._waiting.append(mine)
        try:
            while (self._holder is not None or self._waiting[0] is not mine) and not who.cancelled:
                taken = self._taken
                try:
                    await asyncio.wait_for(mine.wait(), self.patience)
                except TimeoutError:
                    if self._waiting[0] is mine and not self._working and self._taken == taken:
                        self._holder = None
                mine.clear()
            if not who.cancelled:
                self._holder = who
        finally:
            self._waiting.remove(mine)
            self._call()

    def _call(self) -> None:
        if self._holder is None and self._waiting:
            self._waiting[0].set()
