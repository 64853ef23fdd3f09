"""Transactions that nest, for both drivers: savepoints all the way down, of which the outermost one is the transaction."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..errors import StorageError


class Transactions:
    """The transactions of one connection. ``run`` executes one statement."""

    def __init__(self, run: Callable[[str], object]):
        self._run = run
        self._depth = 0
        self.commit_ms = 0.0  # how long the last outermost commit took

    @property
    def open(self) -> bool:
        return self._depth > 0

    @contextmanager
    def level(self) -> Iterator[None]:
        """One level: everything inside takes effect, or nothing if the block or the commit raises."""
        name = f"level_{self._depth}"
        self._run(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            yield
            start = time.perf_counter()
            self._run(f"RELEASE {name}")
        except BaseException:
            with suppress(StorageError):  # after a full disk SQLite has already rolled back all levels, so this one is unknown
                self._run(f"ROLLBACK TO {name}")
                self._run(f"RELEASE {name}")
            raise
        finally:
            self._depth -= 1
        if not self._depth:
            self.commit_ms = (time.perf_counter() - start) * 1000
