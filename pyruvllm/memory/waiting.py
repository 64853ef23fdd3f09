"""Who waits for writes to be durable: work that can be put off stands aside for them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Waiting:
    def __init__(self) -> None:
        self._waits: set[asyncio.Future[None]] = set()

    @contextmanager
    def somebody(self) -> Iterator[None]:
        """While somebody waits."""
        done = asyncio.get_running_loop().create_future()
        self._waits.add(done)
        try:
            yield
        finally:
            self._waits.remove(done)
            done.set_result(None)

    async def nobody(self) -> None:
        """Lets others have a turn, and returns when nobody waits."""
        await asyncio.sleep(0)
        while self._waits:
            await asyncio.wait(self._waits)
