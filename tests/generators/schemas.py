"""JSON schemas of what is understood, values that are valid for them, and a checker that says why a value is not.

The checker follows JSON Schema 2020-12 and knows nothing of grammars.
"""

import re

from hypothesis import strategies as st

NAMES = ["a", "b", "name", "é", 'q"', ""]
LEAVES = [
    {"type": "null"}, {"type": "boolean"}, {"type": "integer"}, {"type": "number"}, {"type": "string"}, {"const": {"x": [1, "é"]}},
    {"enum": [1, "two", None, [3]]}, {"type": ["string", "null"]}, {"type": "string", "maxLength": 4}, {"type": "string", "minLength": 2},
    {"type": "string", "pattern": "^[a-f]{2,5}$"}, {"type": "string", "pattern": "\\d", "maxLength": 6}, {"type": "integer", "minimum": -3},
    {"type": "integer", "minimum": 0, "maximum": 130}, {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"type": "array"},
    {"type": "object"}, {"$ref": "#/$defs/leaf"}, {"type": "integer", "nullable": True}, {"type": "string", "format": "date"},
]  # fmt: skip


def schemas():
    inner = st.recursive(st.sampled_from(LEAVES), _composed, max_leaves=5)
    return inner.map(lambda schema: {**schema, "$defs": {"leaf": {"enum": ["leaf", 7]}}})


def _composed(inner):
    counts = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda pair: {"minItems": pair[0], "maxItems": sum(pair)})
    arrays = st.tuples(inner, counts).map(lambda pair: {"type": "array", "items": pair[0], **pair[1]})
    tuples = st.tuples(st.lists(inner, min_size=1, max_size=2), st.sampled_from([False, {"type": "null"}])).map(
        lambda pair: {"type": "array", "prefixItems": pair[0], "items": pair[1], "minItems": 1}
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts})
    return st.one_of(arrays, tuples, unions, _objects(inner))


def _objects(inner):
    def built(parts):
        properties, required, others = parts
        return {"type": "object", "properties": properties, "required": sorted(required & set(properties)), "additionalProperties": others}

    properties = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    others = st.sampled_from([False, {"type": "integer"}])
    return st.tuples(properties, st.sets(st.sampled_from(NAMES)), others).map(built)


def valid_for(schema, root):
    """A strategy of valid values, properties in the schema's order, others last."""
    if "$ref" in schema:
        return valid_for(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if schema.get("nullable"):
        return st.none() | valid_for({key: value for key, value in schema.items() if key != "nullable"}, root)
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if "anyOf" in schema:
        return st.one_of(*(valid_for(part, root) for part in schema["anyOf"]))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(_of_kind(kind, schema, root) for kind in kinds))


def _of_kind(kind, schema, root):
    if kind == "string":
        if "pattern" in schema or "format" in schema:
            found = {"^[a-f]{2,5}$": ["ab", "fedcb"], "\\d": ["1", "a2é", "€9 "], None: ["2024-02-28"]}
            return st.sampled_from(found[schema.get("pattern")])
        letters = st.characters(exclude_categories=["Cs"])
        return st.text(letters, min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 6))
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", -1000), schema.get("maximum", 1000)
        whole = st.integers(max(low, schema.get("exclusiveMinimum", low - 1) + 1), high)
        return whole if kind == "integer" else whole | st.sampled_from([0.5, 0.125, 1.0])
    if kind == "array" and "prefixItems" in schema:
        first = [valid_for(part, root) for part in schema["prefixItems"]]
        return st.integers(1, len(first)).flatmap(lambda n: st.tuples(*first[:n]).map(list))
    if kind == "array":
        items = valid_for(schema["items"], root) if "items" in schema else st.sampled_from([None, 1, "x", [[]], {"k": {}}])
        return st.lists(items, min_size=schema.get("minItems", 0), max_size=schema.get("maxItems", 3))
    if kind == "object":
        return _of_properties(schema, root)
    return st.none() if kind == "null" else st.booleans()


def _of_properties(schema, root):
    if "properties" not in schema:
        return st.dictionaries(st.sampled_from(NAMES), st.sampled_from([None, 1.5, [], {"x": ""}]), max_size=3)
    parts = {name: valid_for(part, root) for name, part in schema["properties"].items()}
    required = {name: part for name, part in parts.items() if name in schema["required"]}
    known = st.fixed_dictionaries(required, optional={name: part for name, part in parts.items() if name not in required})
    ordered = known.map(lambda value: {name: value[name] for name in parts if name in value})
    if schema["additionalProperties"] is False:
        return ordered
    others = st.dictionaries(st.sampled_from(["other", "z\n"]), st.integers(-9, 9), max_size=2)
    return st.tuples(ordered, others).map(lambda pair: {**pair[0], **pair[1]})


def invalid(value, schema, root):
    """Why the value is not valid; None where it is."""
    if schema is True:
        return None
    if "$ref" in schema:
        return invalid(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if schema.get("nullable") and value is None:
        return None
    if "anyOf" in schema and all(invalid(value, part, root) for part in schema["anyOf"]):
        return f"{value!r} is none of anyOf"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{value!r} is not the const"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        return f"{value!r} is not in the enum"
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is(value, kind) for kind in kinds):
            return f"{value!r} is no {schema['type']}"
    return _wrong_parts(value, schema, root)


def _wrong_parts(value, schema, root):
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30):
            return f"{value!r} is of {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value, re.ASCII):
            return f"{value!r} has no {schema['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        above, below = schema.get("exclusiveMinimum", float("-inf")), schema.get("exclusiveMaximum", float("inf"))
        if not inside or not above < value < below:
            return f"{value!r} is beyond its bounds"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1 << 30):
            return f"{len(value)} items"
        first = schema.get("prefixItems", [])
        items = schema.get("items", True)
        if items is False and len(value) > len(first):
            return f"{len(value)} items"
        wanted = [*first, *[items] * len(value)]
        return next((why for one, part in zip(value, wanted, strict=False) if (why := invalid(one, part, root))), None)
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return f"{missing[0]!r} is missing"
        for name, one in value.items():
            part = properties.get(name, others)
            if part is False or (why := invalid(one, part, root)):
                return f"{name!r} may not be there" if part is False else why
    return None


def _is(value, kind):
    if kind == "boolean" or isinstance(value, bool):
        return isinstance(value, bool) and kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, {"object": dict, "array": list, "string": str, "number": (int, float), "null": type(None)}[kind])


def _same(one, other):
    return type(one) is type(other) and one == other
