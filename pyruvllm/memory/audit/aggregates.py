"""The witness log in figures: how many, how good, how fast, by what, and how often it failed, in all and by bucket of time."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from ...errors import ConfigError
from ...storage.driver import Driver
from ...types import Latency
from .questions import DAY_MS, HOUR_MS

STEPS = tuple(field.name for field in fields(Latency))
PERCENTILES = (50, 90, 99)
BUCKETS = 5000  # at most in one answer

Bucket = int | None | Literal["auto"]
Percentiles = dict[str, tuple[float, ...]]  # step -> p50, p90, p99 in milliseconds


@dataclass(frozen=True)
class Figures:
    """Of the entries of a span of time, ``start`` to before ``end`` in UTC milliseconds. None where no entry says anything."""

    start: int
    end: int
    count: int
    rated: int
    quality: float | None  # mean of those rated
    errors: int
    models: dict[str, int]  # how often each was used, most first
    latency: Percentiles | None  # linear interpolation between ranks, as numpy's percentile

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.count if self.count else None


@dataclass(frozen=True)
class Summary:
    """``trend`` is by how much the quality rises a day: the slope of the least squares line through the ratings; None for fewer than 2."""

    total: Figures
    buckets: tuple[Figures, ...]
    trend: float | None


def summarize(driver: Driver, condition: tuple[str, list[Any]], bucket_ms: Bucket, origin: int) -> Summary:
    """Figures of the entries that a condition on ``witness AS w`` holds for; see ``Audited.aggregate``."""
    if bucket_ms not in (None, "auto") and (isinstance(bucket_ms, bool) or not isinstance(bucket_ms, int) or bucket_ms < 1):
        raise ConfigError(f"bucket_ms is {bucket_ms!r}; a number of milliseconds of 1 or more, None or 'auto' would be right")
    test, values = condition
    columns = ", ".join(f"w.{name}" for name in STEPS)
    sql = f"SELECT w.timestamp, w.quality, w.error_kind IS NOT NULL, w.model, {columns} FROM witness AS w WHERE {test} ORDER BY w.timestamp"
    rows: Any = driver.query(sql, values)
    table = _Table.of(rows)
    if not len(table):
        return Summary(table.figures(0, 0, slice(0, 0)), (), None)
    first, last = int(table.times[0]), int(table.times[-1])
    total = table.figures(first, last + 1, slice(0, len(table)))
    if bucket_ms == "auto":
        bucket_ms = chosen(first - origin, last - origin)
    return Summary(total, tuple(table.buckets(bucket_ms, origin)) if bucket_ms else (), table.trend())


def chosen(first: int, last: int) -> int:
    """Of hours, days, and then weeks by powers of two the shortest of which few enough reach from one time to another."""
    sizes = (HOUR_MS, DAY_MS, *(7 * DAY_MS << doubled for doubled in range(64)))
    return next(size for size in sizes if last // size - first // size < BUCKETS)


@dataclass(frozen=True)
class _Table:
    """n entries by ascending time."""

    times: np.ndarray  # (n,) int64
    quality: np.ndarray  # (n,) float64, NaN where nobody said
    failed: np.ndarray  # (n,) bool
    models: list[str]
    latency: np.ndarray  # (n, steps) float64

    @classmethod
    def of(cls, rows: Any) -> "_Table":
        times, quality, failed, models, *steps = zip(*rows, strict=True) if rows else [()] * (4 + len(STEPS))
        known = np.array([np.nan if value is None else value for value in quality], np.float64)
        latency = np.array(steps, np.float64).reshape(len(STEPS), len(rows)).T
        return cls(np.array(times, np.int64), known, np.array(failed, bool), [str(model) for model in models], latency)

    def __len__(self) -> int:
        return len(self.times)

    def buckets(self, size: int, origin: int) -> list[Figures]:
        """One after the other from the first entry's to the last one's, empty ones too."""
        first, last = (int(self.times[at] - origin) // size for at in (0, -1))
        if last - first >= BUCKETS:
            raise ConfigError(f"bucket_ms is {size}: that makes {last - first + 1} buckets; {BUCKETS} at most would be right")
        edges = [origin + place * size for place in range(first, last + 2)]
        cuts = np.searchsorted(self.times, edges)
        spans = zip(edges, edges[1:], cuts.tolist(), cuts.tolist()[1:], strict=False)
        return [self.figures(start, end, slice(low, high)) for start, end, low, high in spans]

    def figures(self, start: int, end: int, span: slice) -> Figures:
        quality, latency = self.quality[span], self.latency[span]
        rated = quality[~np.isnan(quality)]
        names, counts = np.unique(self.models[span], return_counts=True)
        used = sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
        ranks = np.percentile(latency, PERCENTILES, axis=0).T.tolist() if len(latency) else []
        return Figures(
            start=start,
            end=end,
            count=len(latency),
            rated=len(rated),
            quality=float(rated.mean()) if len(rated) else None,
            errors=int(self.failed[span].sum()),
            models=dict(used),
            latency=dict(zip(STEPS, map(tuple, ranks), strict=True)) if ranks else None,
        )

    def trend(self) -> float | None:
        known = ~np.isnan(self.quality)
        times = self.times[known]
        if len(times) < 2 or times[0] == times[-1]:
            return None
        days = (times - times[0]) / DAY_MS
        days -= days.mean()
        return float(days @ (self.quality[known] - self.quality[known].mean()) / (days @ days))
