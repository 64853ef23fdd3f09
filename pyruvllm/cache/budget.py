"""How much the pool may hold: a share of what the device has, less where other things grow or memory is short.

follower = Follower(pool, host.current())
follower.look()                              # now and then; and ``look("critical")`` when the host says that memory is short
"""

from ..errors import ConfigError, PersistError, PoolFullError
from ..host.base import Host
from .pool import Pool

SHARE = 0.25  # of the device's memory for the pool
ALL = 0.5  # of it for all that this interpreter holds
LEAST = 16 << 20  # bytes, however short memory is
PRESSURE = {"nominal": 1.0, "fair": 0.75, "serious": 0.5, "critical": 0.25}


def allowed(wanted: int, device: int | None, others: int | None, pressure: str = "nominal", heap: int | None = None) -> int:
    """Bytes. wanted: at most; device: what it has, None where it does not tell; others: what the interpreter holds beside the pool; heap:
    what it can hold at all. ConfigError for a pressure that there is not.
    """
    if pressure not in PRESSURE:
        raise ConfigError(f"pressure is {pressure!r}; one of {', '.join(PRESSURE)} would be right")
    most = float(wanted)
    if device is not None:
        most = min(most, SHARE * device, ALL * device - (others or 0))
    if heap is not None:
        most = min(most, 0.9 * heap - (others or 0))
    return max(int(most * PRESSURE[pressure]), min(LEAST, wanted))


class Follower:
    """wanted: bytes at most; what the pool was made with, unless told otherwise. least: bytes without which nothing could be done."""

    def __init__(self, pool: Pool, host: Host, wanted: int | None = None, least: int = 0) -> None:
        self.pool, self.host, self.wanted, self.least = pool, host, wanted or pool.budget, least

    def look(self, pressure: str = "nominal") -> int:
        """Sets the budget by how things are now; the budget. It is what it was where what must stay is more."""
        device = self.host.device()
        own = self.pool.region.size + self.pool.charged  # a heap has all of the region from the beginning
        others = None if device.heap is None else max(device.heap - own, 0)
        budget = max(allowed(self.wanted, device.memory, others, pressure, device.limit), self.least)
        if budget != self.pool.budget:
            try:
                self.pool.resize(budget)
            except (PoolFullError, PersistError):
                pass
        return self.pool.budget
