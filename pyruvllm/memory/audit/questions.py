"""The questions that a postmortem begins with (ADR-002): what was poor, what failed like this, what was slow just now."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConfigError
from .criteria import Criteria
from .entry import WitnessEntry

if TYPE_CHECKING:
    from .audited import Audited

POOR = 0.5
HOUR_MS = 3600 * 1000
SPREADS = 5.0  # how many scaled median deviations above the median a spike is, and at least twice the median
NORMAL = 1.4826  # the median deviation of a normal distribution times this is its standard deviation
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Found:
    """Entries in their order, and how many there are beyond a page of them."""

    entries: list[WitnessEntry]
    total: int


@dataclass(frozen=True)
class Spikes(Found):
    """Entries that took longer than ``threshold_ms``, slowest first; ``median_ms`` is what was usual. None where there was nothing."""

    median_ms: float | None
    threshold_ms: float | None


async def similar_errors(log: "Audited", id: str, limit: int) -> Found:
    """See ``Audited.similar_errors``."""
    error = log.get(id).error
    where = {"id": {"$ne": id}}
    kinds: list[dict[str, Any]] = [{"error.kind": {"$exists": True}}]
    if error is not None:
        kinds = [{"error.kind": error.kind}, {"$and": [*kinds, {"error.kind": {"$ne": error.kind}}]}]
    entries: list[WitnessEntry] = []
    for kind in kinds:
        if len(entries) < limit:
            entries += (await log.find(like=id, where={**where, **kind}, limit=limit - len(entries))).entries
    return Found(entries, log.count({**where, "error.kind": {"$exists": True}}))


def latency_spikes(log: "Audited", within_ms: int, limit: int) -> Spikes:
    """See ``Audited.latency_spikes``."""
    if isinstance(within_ms, bool) or not isinstance(within_ms, int) or within_ms < 1:
        raise ConfigError(f"within_ms is {within_ms!r}; a number of milliseconds of 1 or more would be right")
    now = log.memory.clock.now_ms()
    rows = log.rows("w.total_ms", Criteria(since=now - max(within_ms, DAY_MS)).filter())
    if not rows:
        return Spikes([], 0, None, None)
    usual = np.array([row[0] for row in rows], np.float64)
    median = float(np.median(usual))
    spread = NORMAL * float(np.median(np.abs(usual - median)))
    threshold = max(2 * median, median + SPREADS * spread)
    where = Criteria(since=now - within_ms, slower_than=threshold).filter()
    return Spikes(log.list(where, limit, order="total_ms"), log.count(where), median, threshold)
