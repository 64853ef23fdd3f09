"""How long the witness log keeps its entries, and what keeps them beyond that: a legal hold.

An entry that retention removes leaves a tombstone in the chain. What was learned from it stays, and is from then on ``derived`` from its
session, so that whoever forgets the session or its user still finds it.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, HeldError
from .. import upkeep
from ..graph import Edge
from .chain import EXPIRED
from .entry import COLLECTION

if TYPE_CHECKING:
    from .audited import Audited

SLICE = 500  # entries removed in one transaction
NAMED = 20  # held entries that an error names

LEARNED = """SELECT e.source, w.session, e.weight, e.confidence FROM json_each(?) AS j JOIN records AS r ON r.id = j.value
    JOIN witness AS w ON w.number = r.number JOIN edges AS e ON e.target = r.id AND e.relation = 'derived'
    WHERE EXISTS (SELECT 1 FROM records AS s WHERE s.id = w.session AND s.collection = 'sessions')"""

Progress = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True)
class Retention:
    """What is kept. None: without that limit. With both, an entry goes that exceeds either."""

    max_age_ms: int | None = None
    max_entries: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_age_ms", "max_entries"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise ConfigError(f"{name} is {value!r}; a whole number of 0 or more, or None, would be right")


@dataclass(frozen=True)
class Cleared:
    """``held``: how many more would have gone and are on legal hold; ``changed``: how many are not as they were archived any more."""

    removed: int = 0
    held: int = 0
    changed: int = 0


def kept(log: "Audited") -> Retention:
    """What the memory's own settings say."""
    rows: Any = log.memory.driver.query("SELECT max_age_ms, max_entries FROM witness_retention")
    return Retention(*rows[0]) if rows else Retention()


def keep(log: "Audited", retention: Retention) -> None:
    log.memory.driver.execute(
        "INSERT OR REPLACE INTO witness_retention (one, max_age_ms, max_entries) VALUES (1, ?, ?)",
        (retention.max_age_ms, retention.max_entries),
    )


async def retain(log: "Audited", retention: Retention, progress: Progress | None) -> Cleared:
    """See ``Audited.retain``."""
    ways, values = [], []
    if retention.max_age_ms is not None:
        ways.append("SELECT number FROM witness WHERE timestamp < ?")
        values.append(log.memory.clock.now_ms() - retention.max_age_ms)
    if retention.max_entries is not None:
        ways.append("SELECT number FROM (SELECT number FROM witness ORDER BY timestamp DESC, number DESC LIMIT -1 OFFSET ?)")
        values.append(retention.max_entries)
    if not ways:
        return Cleared()
    sql = f"SELECT number, hold IS NOT NULL FROM witness WHERE number IN ({' UNION '.join(ways)}) ORDER BY timestamp, number"
    due: Any = log.memory.driver.query(sql, values)
    going = [number for number, held in due if not held]
    removed = await remove(log, going, EXPIRED, b"", progress)
    return Cleared(removed, held=len(due) - len(going))


async def remove(log: "Audited", numbers: Sequence[int], event: str, digest: bytes, progress: Progress | None = None) -> int:
    """Takes entries out, a slice at a time, each with its tombstone; on return they are gone from the stored database as well."""
    memory, done = log.memory, 0
    for start in range(0, len(numbers), SLICE):
        listed = json.dumps(numbers[start : start + SLICE])
        with memory.transaction():
            # asked again: between two slices an entry may have been forgotten or held
            sql = "SELECT w.number, r.id FROM witness AS w JOIN records AS r ON r.number = w.number WHERE w.hold IS NULL AND w.number IN "
            rows: Any = memory.driver.query(f"{sql} (SELECT value FROM json_each(?)) ORDER BY w.number", [listed])
            log.chain.append(event, [number for number, _ in rows], digest)
            ids = [id for _, id in rows]
            learned: Any = memory.driver.query(LEARNED, [json.dumps(ids)])
            memory.graph.link_many(Edge(source, session, "derived", weight, sure) for source, session, weight, sure in learned)
            memory.remove(ids)
        done += len(ids)
        if progress is not None:
            progress(min(start + SLICE, len(numbers)), len(numbers))
        await asyncio.sleep(0)
    if done:
        await upkeep.purge(memory, memory.collection(COLLECTION))
        await memory.flush()
        await memory.driver.scrub()
    return done


def check_held(held: Sequence[str], what: str) -> None:
    """HeldError if there are any."""
    if held:
        named = ", ".join(held[:NAMED]) + (f" and {len(held) - NAMED} more" if len(held) > NAMED else "")
        raise HeldError(f"{what} was not done: on legal hold are the witness entries {named}; nothing was removed", tuple(held))
