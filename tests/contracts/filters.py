"""What the filter language means, against an evaluator in plain Python. Bound by ``open_memory`` of ``tests.contracts.stores``.

Each example of a property opens a memory of another name, so one fixture may serve them all.
"""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.errors import FilterError
from pyruvllm.types import Draft
from tests.contracts.stores import another

KEYS = ("a", "b", "a.b", "a.c", "ü x", "a'; DROP TABLE records; --", "[0]", "$x"[1:])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4) | st.sampled_from(["x", "xy", "%", "'", "_"])
# Eighths are exact in binary: SQLite reads longer decimals with an error in the last place on some versions.
NUMBERS = st.integers(-3, 3) | st.integers(-24, 24).map(lambda eighths: eighths / 8) | st.integers(-(2**53), 2**53)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
METADATA = st.dictionaries(
    st.sampled_from(["a", "b", "ü x", "a'; DROP TABLE records; --", "[0]"]),
    VALUES | st.dictionaries(st.sampled_from(["b", "c"]), VALUES, max_size=2),
    max_size=4,
)
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$contains"]), SCALARS),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS | TEXT),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
)
LEAVES = st.dictionaries(st.sampled_from(KEYS), SCALARS | st.lists(OPERATIONS, min_size=1, max_size=2).map(dict), min_size=0, max_size=2)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: (
        st.fixed_dictionaries({"$not": inner})
        | st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=6,
)
MISSING = object()


def holds(where, metadata) -> bool:
    """The filter language as its documentation says it, one rule after the other."""
    return all(_entry(key, value, metadata) for key, value in where.items())


def _entry(key, value, metadata):
    if key == "$and":
        return all(holds(part, metadata) for part in value)
    if key == "$or":
        return any(holds(part, metadata) for part in value)
    if key == "$not":
        return not holds(value, metadata)
    found = metadata
    for step in key.split("."):
        found = found[step] if isinstance(found, dict) and step in found else MISSING
    operations = value if isinstance(value, dict) else {"$eq": value}
    return all(_operation(found, operator, operand) for operator, operand in operations.items())


def _operation(found, operator, operand):
    if operator == "$exists":
        return (found is not MISSING) == operand
    if operator == "$eq":
        return _same(None if found is MISSING else found, operand)
    if operator == "$ne":
        return not _operation(found, "$eq", operand)
    if operator == "$in":
        return any(_operation(found, "$eq", each) for each in operand)
    if operator == "$nin":
        return not _operation(found, "$in", operand)
    if operator == "$contains":
        if isinstance(found, list):
            return any(_same(each, operand) for each in found)
        return isinstance(found, str) and isinstance(operand, str) and operand in found
    if _kind(found) != _kind(operand) or _kind(found) not in ("number", "text"):
        return False
    return {"$gt": found > operand, "$gte": found >= operand, "$lt": found < operand, "$lte": found <= operand}[operator]


def _same(one, other):
    return _kind(one) == _kind(other) and one == other


def _kind(value):
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "text", type(None): "null"}.get(type(value), "other")


class FiltersContract:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(st.lists(METADATA, min_size=1, max_size=8), st.lists(FILTERS, min_size=1, max_size=8))
    async def test_a_filter_holds_for_just_the_rows_that_it_says(self, open_memory, rows, filters):
        memory = await open_memory(another())
        memory.put("documents", [Draft("x", str(place), metadata) for place, metadata in enumerate(rows)])
        for where in filters:
            where = json.loads(json.dumps(where))
            expected = {str(place) for place, metadata in enumerate(rows) if holds(where, metadata)}
            assert {record.id for record in memory.select("documents", where)} == expected, where
            assert memory.count("documents", where) == len(expected)
        assert memory.count("documents") == len(rows)
        await memory.close()

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({}, "012"),
            ({"id": "1"}, "1"),
            ({"id": {"$in": ["0", "2", "9"]}}, "02"),
            ({"id": {"$nin": []}}, "012"),
            ({"id": {"$exists": True}}, "012"),
            ({"text": {"$contains": "ap"}}, "02"),
            ({"text": {"$ne": "apple"}}, "12"),
            ({"text": {"$gt": "b"}}, "1"),
            ({"created_at": {"$gte": 1_700_000_000_001}}, "12"),
            ({"updated_at": 1_700_000_000_002}, "2"),
            ({"$not": {"created_at": {"$lt": 1_700_000_000_001.5}}}, "2"),
        ],
    )
    async def test_columns(self, open_memory, where, expected):
        memory = await open_memory()
        for place, text in enumerate(("apple", "banana", "Grape")):
            memory.put("documents", [Draft(text, str(place), {"id": "metadata does not hide a column"})])
            memory.clock.now += 1
        assert [record.id for record in memory.select("documents", where)] == list(expected)

    @pytest.mark.parametrize(
        ("where", "named"),
        [
            ("tag", "'tag'"),
            ({1: "x"}, "1"),
            ({"year": {"$around": 3}}, "$around"),
            ({"a": {"b": 1}}, "a.b"),
            ({"a": {}}, "no operator"),
            ({"a": [1]}, "$eq"),
            ({"a": {"$in": "x"}}, "list"),
            ({"a": {"$in": [[1]]}}, "$in"),
            ({"a": {"$gt": True}}, "$gt"),
            ({"a": {"$gt": None}}, "$gt"),
            ({"a": {"$exists": 1}}, "$exists"),
            ({"a": float("nan")}, "finite"),
            ({"a": 2**63}, "64 bits"),
            ({"a": "NUL \0"}, "NUL"),
            ({"a": "\ud800"}, "surrogate"),
            ({"a": b"bytes"}, "bytes"),
            ({"$and": []}, "$and"),
            ({"$or": {"a": 1}}, "$or"),
            ({"$nor": [{"a": 1}]}, "$nor"),
            ({"$not": 5}, "5"),
            ({"a..b": 1}, "a..b"),
            ({"": 1}, "path"),
            ({'a"b': 1}, "path"),
            ({"a\\b": 1}, "path"),
            ({"a\nb": 1}, "path"),
            ({"created_at": "yesterday"}, "milliseconds"),
            ({"created_at": None}, "milliseconds"),
            ({"updated_at": {"$contains": 1}}, "contain"),
            ({"text": 5}, "strings"),
            ({"id": {"$in": [1]}}, "strings"),
        ],
    )
    async def test_what_does_not_parse_is_named(self, open_memory, where, named):
        memory = await open_memory()
        for attempt in (
            lambda: memory.select("documents", where),
            lambda: memory.count("documents", where),
            lambda: memory.search_with("x", None, where=where),
        ):
            with pytest.raises(FilterError) as raised:
                attempt()
            assert named in str(raised.value)

    async def test_depth_is_bounded(self, open_memory):
        memory, where = await open_memory(), {"a": None}
        memory.put("documents", [Draft("x", "x")])
        for _ in range(20):
            where = {"$not": where}
        assert memory.count("documents", where) == 1
        for _ in range(20):
            where = {"$and": [where]}
        with pytest.raises(FilterError, match="deep"):
            memory.count("documents", where)

    async def test_long_lists(self, open_memory):
        memory = await open_memory()
        memory.put("documents", [Draft("x", str(place), {"n": place}) for place in range(10)])
        assert memory.count("documents", {"n": {"$in": list(range(5, 40_000))}}) == 5
        assert memory.count("documents", {"id": {"$nin": [str(place) for place in range(3, 40_000)]}}) == 3
