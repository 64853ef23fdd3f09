"""The filter language: JSON-able dicts, compiled to SQL with parameters.

    {"tag": "x"}                                equal; several keys must all hold
    {"year": {"$gte": 2020, "$lt": 2024}}       several operators must all hold
    {"$or": [{"a.b": 1}, {"$not": {"c": {"$exists": True}}}]}

A key is a path into the metadata, its steps joined by dots, or one of the columns id, text, created_at and updated_at (times are UTC
milliseconds). Values are strings, numbers, booleans and None. Nothing of a filter becomes part of the SQL text: paths are parameters too.

| operator | holds when |
|---|---|
| $eq, $ne | equal, or not. 1 equals 1.0; True equals neither. None equals a missing key as well as null |
| $gt $gte $lt $lte | both are numbers, or both are strings (compared by code point) |
| $in, $nin | equal to one of a list, or to none of it |
| $exists | the key is there (null counts), or with False is not |
| $contains | a list that has the value, or a string that has it as a part |
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import FilterError
from ..storage.driver import Value

COLUMNS: dict[str, type] = {"id": str, "text": str, "created_at": int, "updated_at": int}
COMPARE = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
OPERATORS = ("$eq", "$ne", *COMPARE, "$in", "$nin", "$exists", "$contains")
GROUPS = ("$and", "$or", "$not")
DEPTH = 30  # groups inside groups; SQLite's parser has a limit of its own far above
INT64 = 2**63

Clause = tuple[str, list[Value]]  # SQL text that is 0 or 1, and its parameters


def compile_filter(where: Mapping[str, Any] | None) -> Clause:
    """The condition on a row of ``records``. None and {} hold for every row. Raises FilterError."""
    if where is None:
        return "1", []
    return _group(where, DEPTH)


def order_by(key: str) -> Clause:
    """What to sort rows by: a column, or a path into the metadata. Raises FilterError."""
    if key in COLUMNS:
        return key, []
    return "json_extract(metadata, ?)", [_path(key)]


def _group(where: Any, depth: int) -> Clause:
    if not isinstance(where, Mapping):
        raise FilterError(f"a filter is a dict such as {{'tag': 'x'}}, not {where!r}")
    if depth == 0:
        raise FilterError(f"a filter may be at most {DEPTH} groups deep")
    return _join("AND", [_entry(key, value, depth) for key, value in where.items()])


def _join(word: str, clauses: list[Clause]) -> Clause:
    if not clauses:
        return "1", []
    text = f" {word} ".join(sql for sql, _ in clauses)
    return f"({text})" if len(clauses) > 1 else text, [value for _, values in clauses for value in values]


def _entry(key: Any, value: Any, depth: int) -> Clause:
    if not isinstance(key, str):
        raise FilterError(f"a key is a string, not {key!r}")
    if key in ("$and", "$or"):
        if not isinstance(value, (list, tuple)) or not value:
            raise FilterError(f"{key} takes a list of one filter or more, not {value!r}")
        return _join(key[1:].upper(), [_group(part, depth - 1) for part in value])
    if key == "$not":
        return _negate(_group(value, depth - 1))
    if key.startswith("$"):
        raise FilterError(f"{key!r} is no group; {', '.join(GROUPS)} are, and operators stand inside a key: {{'year': {{'$gt': 2020}}}}")
    if not isinstance(value, Mapping):
        return _operation(key, "$eq", value)
    if not value:
        raise FilterError(f"{key!r} has no operator; one of {', '.join(OPERATORS)} would be right")
    return _join("AND", [_operation(key, operator, operand) for operator, operand in value.items()])


def _operation(key: str, operator: Any, operand: Any) -> Clause:
    if operator not in OPERATORS:
        hint = f"; for a key inside {key!r} write '{key}.{operator}'" if isinstance(operator, str) and operator[:1] != "$" else ""
        raise FilterError(f"{operator!r} is no operator for {key!r}; {', '.join(OPERATORS)} are{hint}")
    if operator in ("$ne", "$nin"):
        return _negate(_operation(key, {"$ne": "$eq", "$nin": "$in"}[operator], operand))
    if operator == "$exists" and not isinstance(operand, bool):
        raise FilterError(f"{key!r}: $exists takes True or False, not {operand!r}")
    if operator == "$in":
        if not isinstance(operand, (list, tuple)):
            raise FilterError(f"{key!r}: $in and $nin take a list, not {operand!r}")
        operands: Sequence[Any] = operand
    else:
        operands = [operand]
    for each in operands:
        _check(key, operator, each)
    kind = COLUMNS.get(key)
    return _column(key, kind, operator, operand) if kind else _metadata(_path(key), operator, operand)


def _check(key: str, operator: str, value: Any) -> None:
    """Refuses what no row could hold or what has no order."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number or value is None or isinstance(value, (str, bool))):
        raise FilterError(f"{key!r}: {operator} takes a string, a number, a boolean or None, not {value!r}")
    if operator in COMPARE and not (number or isinstance(value, str)):
        raise FilterError(f"{key!r}: {operator} takes a number or a string, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{key!r}: {operator} takes a finite number, not {value!r}")
    if isinstance(value, int) and not -INT64 <= value < INT64:
        raise FilterError(f"{key!r}: {operator} takes integers of 64 bits, not {value!r}")
    if isinstance(value, str):
        _check_text(key, value)
    kind = COLUMNS.get(key)
    if kind and operator != "$exists" and not (number if kind is int else isinstance(value, str)):
        raise FilterError(f"{key!r} holds {'UTC milliseconds' if kind is int else 'strings'}; {value!r} can never match")


def _check_text(key: str, value: str) -> None:
    if "\0" in value:
        raise FilterError(f"{key!r}: no string that is stored has a NUL character, {value!r} has one")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FilterError(f"{key!r}: {value!r} is no valid Unicode text (half of a surrogate pair)") from None


def _column(name: str, kind: type, operator: str, operand: Any) -> Clause:
    if operator == "$exists":
        return ("1" if operand else "0"), []
    if operator == "$in":
        return f"{name} IN (SELECT value FROM json_each(?))", [json.dumps(list(operand), ensure_ascii=False)]
    if operator == "$contains":
        if kind is int:
            raise FilterError(f"{name!r} holds UTC milliseconds, which contain nothing; compare them with $gte and $lt")
        return f"instr({name}, ?) > 0", [operand]
    return f"{name} {COMPARE.get(operator, '=')} ?", [operand]


def _path(key: str) -> str:
    """``a.b`` as SQLite's ``$."a"."b"``."""
    steps = key.split(".")
    if any(not step or '"' in step or "\\" in step or min(step) < " " for step in steps):
        raise FilterError(f"{key!r} is no path: steps joined by dots, none empty, without quotes, backslashes and control characters")
    _check_text(key, key)
    return "$" + "".join(f'."{step}"' for step in steps)


def _metadata(path: str, operator: str, operand: Any) -> Clause:
    if operator == "$exists":
        return f"(json_type(metadata, ?) IS {'NOT ' if operand else ''}NULL)", [path]
    if operator == "$in":
        return _one_of(path, operand)
    if operator == "$contains":
        return _contains(path, operand)
    if operator in COMPARE:
        return _same_type(path, operand, f"{COMPARE[operator]} ?", operand)
    return _equal(path, operand)


def _equal(path: str, value: Any) -> Clause:
    if value is None:
        return "(coalesce(json_type(metadata, ?), 'null') = 'null')", [path]
    if isinstance(value, bool):
        return "(json_type(metadata, ?) IS ?)", [path, json.dumps(value)]
    return _same_type(path, value, "= ?", value)


def _same_type(path: str, sample: Any, test: str, parameter: Value) -> Clause:
    types = "'text'" if isinstance(sample, str) else "'integer', 'real'"
    sql = f"((json_type(metadata, ?) IN ({types}) AND json_extract(metadata, ?) {test}) IS TRUE)"
    return sql, [path, path, parameter]


def _one_of(path: str, values: Sequence[Any]) -> Clause:
    """One parameter per type, however long the list: SQLite limits how many there are."""
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    clauses = [_equal(path, value) for value in (None, True, False) if any(value is other for other in values)]
    clauses += [
        _same_type(path, group[0], "IN (SELECT value FROM json_each(?))", json.dumps(group, ensure_ascii=False))
        for group in (texts, numbers)
        if group
    ]
    return _join("OR", clauses) if clauses else ("0", [])


def _contains(path: str, value: Any) -> Clause:
    if value is None:
        element: Clause = ("type = 'null'", [])
    elif isinstance(value, bool):
        element = ("type = ?", [json.dumps(value)])
    elif isinstance(value, str):
        element = ("type = 'text' AND value = ?", [value])
    else:
        element = ("type IN ('integer', 'real') AND value = ?", [value])
    in_list = (
        f"(json_type(metadata, ?) IS 'array' AND EXISTS (SELECT 1 FROM json_each(metadata, ?) WHERE {element[0]}))",
        [path, path, *element[1]],
    )
    if not isinstance(value, str):
        return in_list
    in_text = "((json_type(metadata, ?) IS 'text' AND instr(json_extract(metadata, ?), ?) > 0) IS TRUE)"
    return _join("OR", [in_list, (in_text, [path, path, value])])


def _negate(clause: Clause) -> Clause:
    return f"(NOT {clause[0]})", clause[1]
