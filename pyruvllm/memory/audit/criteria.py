"""What to look for in the witness log: every criterion narrows, and any of them go together."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import ConfigError
from ..filters import compile_filter

MATCHING = "w.number IN (SELECT number FROM records WHERE collection = 'witness' AND {})"
# A typed column says the same as the metadata and has an index: a filter's plain comparisons are put to both.
INDEXED = {
    **{name: name for name in ("session", "model", "quality", "timestamp", "hold")},
    **{"user": "user_id", "error.kind": "error_kind", "latency.total_ms": "total_ms"},
}
COMPARE = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


@dataclass(frozen=True)
class Criteria:
    """None: whatever it is. Times are UTC milliseconds."""

    since: int | None = None  # from then on
    until: int | None = None  # before then
    quality_below: float | None = None
    quality_at_least: float | None = None
    rated: bool | None = None
    model: str | None = None
    session: str | None = None
    user: str | None = None
    error: str | bool | None = None  # its kind; True: any, False: none
    slower_than: float | None = None  # milliseconds in all
    held: bool | None = None
    where: Mapping[str, Any] | None = None  # any further filter, see ``memory.filters``

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Criteria":
        """ConfigError, naming what is no criterion."""
        known = [field.name for field in fields(cls)]
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            raise ConfigError(f"{unknown!r} is no criterion; {', '.join(known)} are")
        return cls(**given)

    def filter(self) -> dict[str, Any]:
        """The same as a filter on the log."""
        tests: dict[str, Any] = {
            "timestamp": {"$gte": self.since, "$lt": self.until},
            "quality": {"$lt": self.quality_below, "$gte": self.quality_at_least},
            "model": {"$eq": self.model},
            "session": {"$eq": self.session},
            "user": {"$eq": self.user},
            "error.kind": {"$eq": None if isinstance(self.error, bool) else self.error},
            "latency.total_ms": {"$gt": self.slower_than},
        }
        where = {key: {operator: value for operator, value in test.items() if value is not None} for key, test in tests.items()}
        where = {key: test for key, test in where.items() if test}
        known = {"quality": self.rated, "error": self.error if isinstance(self.error, bool) else None, "hold": self.held}
        more = [{key: {"$ne" if wanted else "$eq": None}} for key, wanted in known.items() if wanted is not None]
        more += [dict(self.where)] if self.where else []
        return {**where, **({"$and": more} if more else {})}


def matching(where: Mapping[str, Any] | None) -> tuple[str, list[Any]]:
    """A filter as a condition on ``witness AS w``. FilterError."""
    if not where:
        return "1", []
    test, values = compile_filter(where)
    tests, typed = [MATCHING.format(test)], []
    for key, value in where.items():
        comparisons = value.items() if isinstance(value, Mapping) else [("$eq", value)]
        for operator, operand in comparisons if key in INDEXED else ():
            sign = COMPARE.get(operator)
            if sign and operand is not None and not isinstance(operand, bool):
                tests.insert(0, f"w.{INDEXED[key]} {sign} ?")
                typed.insert(0, operand)
    return " AND ".join(tests), [*typed, *values]
