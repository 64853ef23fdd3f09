"""The writeback queue: writes that nobody waits for, gathered into batches.

``put`` appends and returns. A batch is written when it is full, when its oldest item has waited long enough, or when somebody
asks for it with ``flush``. An item leaves the queue only after the write that carried it has returned, so a write that fails
or is cancelled costs nothing but time: the same items, in the same order, are in the next attempt. ``write`` must therefore
tolerate items that it has already written, for an attempt may fail after its rows were in.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

from ..config import Clock, WritebackConfig
from ..errors import ConfigError, MemoryStoreError

T = TypeVar("T")

SHORTEST_RETRY_MS, LONGEST_RETRY_MS = 50, 30_000  # between two attempts at a batch that keeps failing; doubling

log = logging.getLogger("pyruvllm")


class WritebackQueue(Generic[T]):
    """Items in, batches out. To be used from one thread: that of the event loop.

    ``write(items)`` makes a list of at most ``config.batch`` items durable, or raises. Before a loop runs ``put`` only keeps;
    the first ``put`` or ``flush`` under a running loop starts the writing.
    """

    def __init__(self, write: Callable[[list[T]], Awaitable[None]], config: WritebackConfig | None = None, clock: Clock | None = None):
        self.config = config or WritebackConfig()
        if self.config.batch < 1 or self.config.wait_ms < 0 or self.config.bound < 1:
            raise ConfigError(f"writeback needs batch >= 1, wait_ms >= 0 and bound >= 1, not {self.config}")
        self.clock = clock or Clock()
        self.error: Exception | None = None  # of the last attempt; None when it succeeded
        self.dropped = 0
        self.written = 0
        self.batches = 0
        self._write = write
        self._queue: deque[tuple[float, T]] = deque()  # (when it was put by elapsed_ms, item), oldest first, unacknowledged
        self._accepted = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()  # (how many must have been written, who waits for it)
        self._failures = 0  # in a row
        self._retry_at = 0.0  # elapsed_ms before which only a flush tries again
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None  # of the next look at the clock
        self._task: asyncio.Task[None] | None = None

    def put(self, item: T) -> bool:
        """Takes the item over without waiting. False: the queue is full or closed; the item is dropped and counted."""
        if self._closed or len(self._queue) >= self.config.bound:
            self.dropped += 1
            return False
        self._queue.append((self.clock.elapsed_ms(), item))
        self._accepted += 1
        if self._timer is None or len(self._queue) % self.config.batch == 0 or (self._loop is not None and self._loop.is_closed()):
            self._wake()
        return True

    def poke(self) -> None:
        """Looks at the clock: starts a write if one is due, else sets the timer. The timer calls this; so may a test."""
        if self._closed or not self._queue or not self._attach() or self._task is not None:
            return  # a write that is under way looks at the queue again when it ends
        wait_ms = self._due_at() - self.clock.elapsed_ms()
        if wait_ms <= 0:
            self._start()
        else:
            self._set_timer(wait_ms)

    async def flush(self) -> None:
        """Returns when everything put before the call is durable. Raises what the write raised; the items stay queued."""
        if self.written == self._accepted:
            return
        self._attach()
        if self._task is not None and self._task is asyncio.current_task():
            raise MemoryStoreError("flush() was called by the write that it would wait for")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((self._accepted, waiter))
        self._start()
        await waiter

    async def close(self) -> None:
        """Flushes and takes nothing more. When the flush raises the items are kept, and ``flush`` or ``close`` may try again."""
        self._closed = True
        self._clear_timer()
        try:
            await self.flush()
        finally:
            self._clear_timer()

    def __len__(self) -> int:
        """Items that are not known to be durable."""
        return len(self._queue)

    def __iter__(self) -> Iterator[T]:
        """Those items, oldest first."""
        return (item for _, item in self._queue)

    def stats(self) -> dict[str, Any]:
        return {
            "queued": len(self._queue),
            "written": self.written,
            "dropped": self.dropped,
            "batches": self.batches,
            "error": None if self.error is None else f"{type(self.error).__name__}: {self.error}",
        }

    async def _pump(self) -> None:
        """Writes batch after batch while one is full, due or waited for. Ends at the first that fails."""
        task = asyncio.current_task()
        try:
            while self._queue and (self._waiters or self._due_at() <= self.clock.elapsed_ms()):
                batch = [item for _, item in islice(self._queue, self.config.batch)]
                try:
                    await self._write(batch)
                except Exception as error:  # noqa: BLE001 whatever it was, the batch is kept and the caller of flush() is told
                    self._failed(error, len(batch))
                    break
                self._succeeded(len(batch))
        except asyncio.CancelledError:  # the loop is ending, or someone insists: whoever waits for it stops too, the items stay
            self._retry_at = self.clock.elapsed_ms() + max(self.config.wait_ms, SHORTEST_RETRY_MS)
            self._release(lambda waiter: waiter.cancel())
            raise
        finally:
            if self._task is task:  # not so when another loop has taken over since
                self._task = None
                self.poke()  # what came meanwhile, or what failed, gets its timer

    def _succeeded(self, items: int) -> None:
        for _ in range(items):
            self._queue.popleft()
        self.written += items
        self.batches += 1
        self.error, self._failures, self._retry_at = None, 0, 0.0
        self._release(lambda waiter: waiter.set_result(None), self.written)

    def _failed(self, error: Exception, items: int) -> None:
        self.error = error
        delay_ms = min(max(self.config.wait_ms, SHORTEST_RETRY_MS) * 2 ** min(self._failures, 16), LONGEST_RETRY_MS)
        self._failures += 1
        self._retry_at = self.clock.elapsed_ms() + delay_ms
        log.warning("writing back %d items failed; they are kept and tried again: %s: %s", items, type(error).__name__, error)
        self._release(lambda waiter: waiter.set_exception(error))

    def _release(self, tell: Callable[["asyncio.Future[None]"], object], up_to: float = math.inf) -> None:
        """Tells those who wait for the first ``up_to`` items."""
        while self._waiters and self._waiters[0][0] <= up_to:
            waiter = self._waiters.popleft()[1]
            if not waiter.done():  # it is when its flush was cancelled
                tell(waiter)

    def _due_at(self) -> float:
        """elapsed_ms at which the next batch is to be written."""
        full = len(self._queue) >= self.config.batch
        return max(self._retry_at, self._queue[0][0] + (0 if full else self.config.wait_ms))

    def _start(self) -> None:
        if self._task is None:
            self._clear_timer()
            self._task = asyncio.get_running_loop().create_task(self._pump())

    def _attach(self) -> bool:
        """Binds to the running loop; False where none runs. What an earlier loop left unfinished is forgotten, not its items."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if loop is not self._loop:
            self._loop, self._timer, self._task = loop, None, None
            self._waiters.clear()
        return True

    def _wake(self) -> None:
        """Looks at the clock as soon as the loop is free. Setting the timer here would hold the caller: in a browser 80 us, this 20."""
        if self._attach() and self._task is None:
            self._clear_timer()
            self._timer = asyncio.get_running_loop().call_soon(self._on_timer)

    def _set_timer(self, wait_ms: float) -> None:
        self._clear_timer()
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.poke()

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
