"""Where a memory lives, and how callers elsewhere reach it.

A memory belongs to one event loop. The packages that the adapters serve call from wherever they are: synchronously, from worker threads,
from other loops. Each call is carried to the memory's own loop; natively that may run in a thread of its own.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from .. import host
from ..errors import HostError

T = TypeVar("T")


class Home:
    """An event loop that a memory was opened in: the running one, or one in a thread of its own (``Home.apart``)."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None):
        try:
            self.loop = loop or asyncio.get_running_loop()
        except RuntimeError:
            raise HostError("an adapter is made where the memory was opened: inside that event loop; or open it by the adapter") from None
        self._place = threading.get_ident()
        self._thread: threading.Thread | None = None

    @classmethod
    def apart(cls) -> "Home":
        """With a loop in a thread of its own. HostError in a browser, where there are no threads."""
        if host.current().name == "browser":
            raise HostError("a browser has no threads: open the memory with `await pyruvllm.open(name)` and give it to the adapter")
        home = cls(asyncio.new_event_loop())
        home._thread = threading.Thread(target=home.loop.run_forever, name="pyruvllm", daemon=True)
        home._thread.start()
        home._place = home._thread.ident or 0
        return home

    async def reach(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits work of the memory from any loop."""
        if asyncio.get_running_loop() is self.loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Blocks until work of the memory is done. HostError where that would wait for itself: its awaitable twin is right there."""
        if self.loop.is_running():
            if threading.get_ident() != self._place:
                return asyncio.run_coroutine_threadsafe(work, self.loop).result()
            return host.current().wait(work)
        if threading.get_ident() == self._place and not self.loop.is_closed():
            return self.loop.run_until_complete(work)
        work.close()
        raise HostError("the event loop that this memory was opened in does not run any more")

    def close(self) -> None:
        """Ends the thread, if there is one."""
        if self._thread is not None and self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()
