"""What to look for in the witness log: every criterion narrows, and any of them go together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import ConfigError
from ...types import Latency
from ..columns import is_number
from ..filters import compile_filter

# Beside the metadata stand typed columns that say the same and have indexes: what a filter asks of these is asked there.
TYPED: dict[str, tuple[str, type]] = {
    **{name: (name, str) for name in ("session", "model", "hold")},
    **{name: (name, float) for name in ("quality", "timestamp")},
    **{"user": ("user_id", str), "error.kind": ("error_kind", str), "error": ("error_kind", dict)},
    **{f"latency.{field.name}": (field.name, float) for field in fields(Latency)},
}
COMPARE = {"$eq": "=", "$ne": "IS NOT", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
SAME = ("$eq", "$ne")
REST = "EXISTS (SELECT 1 FROM records WHERE number = w.number AND {})"


NUMBER, TIME = (is_number, "a number"), (is_number, "a number of UTC milliseconds")
TEXT, TRUTH = (lambda value: isinstance(value, str), "a string"), (lambda value: isinstance(value, bool), "True or False")
RIGHT: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{"since": TIME, "until": TIME, "quality_below": NUMBER, "quality_at_least": NUMBER, "slower_than": NUMBER},
    **{"model": TEXT, "session": TEXT, "user": TEXT, "rated": TRUTH, "held": TRUTH},
    "error": (lambda value: isinstance(value, (str, bool)), "a kind of error, True or False"),
    "where": (lambda value: isinstance(value, Mapping), "a filter, which is a dict,"),
}


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

    def __post_init__(self) -> None:
        for name, (fits, right) in RIGHT.items():
            value = getattr(self, name)
            if value is not None and not fits(value):
                raise ConfigError(f"{name} is {value!r}; {right} would be right")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Criteria":
        """ConfigError, naming what is no criterion, or cannot be one."""
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
    compile_filter(where)  # says what is wrong with it
    tests, values, rest = [], [], []
    for key, operator, operand in _conditions(where or {}):
        test = _typed(key, operator, operand)
        if test is None:
            rest.append({key: {operator: operand} if operator else operand})
        else:
            tests.append(test)
            values += [operand] if "?" in test else []
    if rest:
        condition, more = compile_filter({"$and": rest})
        tests.append(REST.format(condition))
        values += more
    return " AND ".join(tests) or "1", values


def _conditions(where: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(key, operator, operand) of all that have to hold together; of another connective than "$and" the operator is empty."""
    for key, value in where.items():
        if key == "$and":
            for part in value:
                yield from _conditions(part)
        elif key.startswith("$"):
            yield key, "", value
        else:
            for operator, operand in value.items() if isinstance(value, Mapping) else [("$eq", value)]:
                yield key, operator, operand


def _typed(key: str, operator: str, operand: Any) -> str | None:
    """The same asked of a column; None where a column cannot answer it."""
    if key == "id" and operator in SAME and isinstance(operand, str):
        return f"w.number {COMPARE[operator]} (SELECT number FROM records WHERE id = ?)"
    if key == "error.kind" and operator == "$exists":
        return f"w.error_kind IS {'NOT ' if operand else ''}NULL"
    if key not in TYPED:
        return None
    column, kind = TYPED[key]
    if operand is None and operator in SAME:
        return f"w.{column} IS {'NOT ' if operator == '$ne' else ''}NULL"
    number = isinstance(operand, (int, float)) and not isinstance(operand, bool)
    if operator in COMPARE and (number if kind is float else isinstance(operand, str) and kind is str):
        return f"w.{column} {COMPARE[operator]} ?"
    return None
