"""JSON Schema as a language of JSON texts: what may be generated, all of which is valid, and not all that is.

    properties in the order of the schema, the required ones and any of the others; no others, unless ``additionalProperties`` says so
    or none are named; a space or a line break where one may be; numbers of at most 18 digits, exponents of two

Keywords that are not understood are refused by name, as are those that stand beside others that they cannot be joined with. Notes for
people (title, description, default, ...) are passed over. JSON Schema 2020-12.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import unquote

from ...errors import ConfigError
from .expression import Grammar, Node, of_code_points
from .numbers import bounded, integer, number
from .pattern import TOP, character, pattern

NOTES = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
NOTES |= {"$comment", "$schema", "$id", "$defs", "definitions"}
OF_TYPE = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set(),
    "null": set(),
}
TYPES = ("object", "array", "string", "number", "boolean", "null")
ALONE = ("$ref", "enum", "const", "anyOf", "oneOf", "allOf")  # beside which only "type" and notes may stand
DAY = "(0[1-9]|1\\d|2[0-8])"  # that every month has
TIME = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
FORMATS = {
    "date": f"^[12]\\d{{3}}-(0[1-9]|1[0-2])-{DAY}$",
    "time": f"^{TIME}$",
    "date-time": f"^[12]\\d{{3}}-(0[1-9]|1[0-2])-{DAY}T{TIME}$",
    "uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "email": "^[A-Za-z0-9_%+-]{1,32}(\\.[A-Za-z0-9_%+-]{1,16}){0,2}@([a-z0-9]{1,32}\\.){1,3}[a-z]{2,12}$",
    "ipv4": "^((25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)$",
}
ANY = ""  # the name of any value


def compiled(schema: Any, *, ascii: bool = False) -> tuple[Grammar, Node]:
    """The grammar and its start. ascii: of texts without other characters, for vocabularies that lack bytes. ConfigError."""
    return _Compiler(schema, ascii).compile()


class _Compiler:
    def __init__(self, schema: Any, ascii: bool) -> None:
        self._root, self._ascii, self._waiting = schema, ascii, [("#", schema)]
        grammar = self._grammar = Grammar()
        blank = grammar.any_of(b" \t")
        self._space = grammar.alt(grammar.empty, grammar.literal(b" "), grammar.seq(grammar.literal(b"\n"), grammar.many(blank, 0, 24)))
        self._comma = grammar.seq(grammar.literal(b","), self._space)
        self._colon = grammar.seq(grammar.literal(b":"), grammar.maybe(grammar.literal(b" ")))
        self._letter = self._letters()

    def compile(self) -> tuple[Grammar, Node]:
        grammar = self._grammar
        while self._waiting:
            name, schema = self._waiting.pop()
            if name not in grammar.names:
                grammar.names[name] = grammar.none  # it may refer to itself
                grammar.names[name] = self._value(schema, name)
        grammar.close()
        start = grammar.name("#")
        if grammar.least(start) is None:
            raise ConfigError("the schema has no value")
        return grammar, start

    def _letters(self) -> Node:
        """One character of a string, in any of its forms."""
        grammar = self._grammar
        raw = [(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7F if self._ascii else TOP)]
        digit, low = grammar.any_of(b"0123456789abcdefABCDEF"), grammar.any_of(b"01234567")
        first = grammar.any_of(b"0123456789abcefABCEF")  # \ud800 to \udfff are halves of characters
        point = grammar.alt(grammar.seq(first, *[digit] * 3), grammar.seq(grammar.any_of(b"dD"), low, digit, digit))
        escape = grammar.alt(grammar.any_of(b'"\\/bfnrt'), grammar.seq(grammar.literal(b"u"), point))
        return grammar.alt(of_code_points(grammar, raw), grammar.seq(grammar.literal(b"\\"), escape))

    def _value(self, schema: Any, at: str) -> Node:
        grammar = self._grammar
        if schema is True or schema == {}:
            return self._anything()
        if not isinstance(schema, Mapping):
            raise ConfigError(f"the schema at {at!r} is {schema!r}; an object would be right")
        schema = {key: value for key, value in schema.items() if key not in NOTES}
        if schema.pop("nullable", False) is True:
            return grammar.alt(self._value(schema, at), grammar.literal(b"null"))
        known = {*ALONE, "type"}.union(*OF_TYPE.values())
        unknown = [key for key in schema if key not in known]
        if unknown:
            self._refuse(at, f"{unknown[0]!r} is not understood")
        alone = [key for key in ALONE if key in schema]
        if alone:
            return self._alone(schema, alone[0], at)
        return grammar.alt(*(self._typed(schema, kind, at) for kind in self._types(schema, at)))

    def _types(self, schema: Mapping[str, Any], at: str) -> Sequence[str]:
        if "type" in schema:
            kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            wrong = next((kind for kind in kinds if kind not in OF_TYPE), None)
            if wrong is not None or not kinds:
                self._refuse(at, f"the type {wrong!r} is none of {', '.join(OF_TYPE)}")
            return kinds
        meant = [kind for kind in TYPES if OF_TYPE[kind] & set(schema)]
        return meant or TYPES

    def _alone(self, schema: Mapping[str, Any], key: str, at: str) -> Node:
        grammar, value = self._grammar, schema[key]
        beside = [other for other in schema if other not in (key, "type")]
        if beside:
            self._refuse(at, f"{beside[0]!r} beside {key!r} is not understood")
        if key in ("const", "enum"):
            values = [value] if key == "const" else value
            kinds = self._types(schema, at) if "type" in schema else None
            if not isinstance(values, list) or not values:
                self._refuse(at, f"{key} is {value!r}; a list of values would be right")
            fitting = [each for each in values if kinds is None or any(_is(each, kind) for kind in kinds)]
            try:
                return grammar.alt(*(self._constant(each) for each in fitting))
            except (TypeError, ValueError):
                self._refuse(at, f"{key} {value!r} is no JSON")
        if key == "$ref":
            return self._reference(value, at) if "type" not in schema else self._refuse(at, "'type' beside '$ref' is not understood")
        if not isinstance(value, list) or not value or "type" in schema:
            self._refuse(at, f"{key} is {value!r}{' beside a type' if 'type' in schema else ''}; a list of schemas would be right")
        if key == "allOf" and len(value) > 1:
            self._refuse(at, "'allOf' of several schemas is not understood")
        if key == "oneOf" and not self._apart(value):
            self._refuse(at, "'oneOf' of schemas that a value could be of both of is not understood; 'anyOf' is")
        return grammar.alt(*(self._value(each, f"{at}/{key}/{place}") for place, each in enumerate(value)))

    def _apart(self, schemas: Sequence[Any]) -> bool:
        """Whether no value is of two: their types differ, or a property that all require has another constant in each."""
        resolved = [self._resolved(each) for each in schemas]
        if not all(isinstance(each, Mapping) for each in resolved):
            return False
        kinds = [kind for each in resolved for kind in self._types(each, "oneOf")]
        if all("type" in each for each in resolved) and len(set(kinds)) == len(kinds) and not {"integer", "number"} <= set(kinds):
            return True

        def constants(schema: Mapping[str, Any], name: str) -> list[str]:
            part = schema["properties"].get(name)
            values = [part["const"]] if isinstance(part, Mapping) and "const" in part else (part or {}).get("enum", [])
            return [json.dumps(value) for value in values]

        if not all(each.get("type") == "object" and isinstance(each.get("properties"), Mapping) for each in resolved):
            return False
        for name in set(resolved[0].get("required", ())).intersection(*(each.get("required", ()) for each in resolved)):
            found = [constants(each, name) for each in resolved]
            if all(found) and len({value for each in found for value in each}) == sum(map(len, found)):
                return True
        return False

    def _resolved(self, schema: Any) -> Any:
        for _ in range(32):
            if not isinstance(schema, Mapping) or "$ref" not in schema:
                break
            schema = self._pointed(schema["$ref"], "oneOf")
        return schema

    def _reference(self, target: Any, at: str) -> Node:
        self._waiting.append((target, self._pointed(target, at)))
        return self._grammar.name(target)

    def _pointed(self, target: Any, at: str) -> Any:
        if not isinstance(target, str) or not (target == "#" or target.startswith("#/")):
            self._refuse(at, f"$ref {target!r} is not understood; what it points to has to be in the same schema, '#/$defs/...'")
        found = self._root
        for part in target.split("/")[1:]:
            part = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (KeyError, IndexError, TypeError, ValueError):
                self._refuse(at, f"$ref {target!r} points to nothing")
        return found

    def _anything(self) -> Node:
        if ANY not in self._grammar.names:
            self._waiting.append((ANY, {"type": list(TYPES)}))
        return self._grammar.name(ANY)

    def _typed(self, schema: Mapping[str, Any], kind: str, at: str) -> Node:
        grammar = self._grammar
        if kind == "object":
            return self._object(schema, at)
        if kind == "array":
            return self._array(schema, at)
        if kind == "string":
            return self._string(schema, at)
        if kind in ("number", "integer"):
            bounds = {key: schema[key] for key in sorted(OF_TYPE["number"]) if key in schema}
            wrong = next((key for key, value in bounds.items() if type(value) not in (int, float) or not abs(value) < 1e15), None)
            if wrong:
                self._refuse(at, f"{wrong} is {bounds[wrong]!r}; a number below 1e15 would be right")
            whole = kind == "integer"
            return bounded(grammar, bounds, whole) if bounds else integer(grammar) if whole else number(grammar)
        return grammar.literal(b"null") if kind == "null" else grammar.alt(grammar.literal(b"true"), grammar.literal(b"false"))

    def _string(self, schema: Mapping[str, Any], at: str) -> Node:
        grammar, format = self._grammar, schema.get("format")
        low, high = self._counts(schema, "minLength", "maxLength", at)
        patterns = [schema["pattern"]] if "pattern" in schema else []
        if format is not None:
            if format not in FORMATS:
                self._refuse(at, f"the format {format!r} is not understood; {', '.join(FORMATS)} are")
            patterns.append(FORMATS[format])
        wrong = next((each for each in patterns if not isinstance(each, str)), None)
        if wrong is not None:
            self._refuse(at, f"pattern is {wrong!r}; a string would be right")
        parts = [pattern(grammar, each, self._ascii) for each in patterns]
        if not parts or (low, high) != (0, None):
            letter = character(grammar, [(0, TOP)], self._ascii) if parts else self._letter
            parts.append(grammar.many(letter, low, high))
        inner = parts[0]
        for part in parts[1:]:
            inner = grammar.both(inner, part)
        quote = grammar.literal(b'"')
        return grammar.seq(quote, inner, quote)

    def _array(self, schema: Mapping[str, Any], at: str) -> Node:
        grammar = self._grammar
        low, high = self._counts(schema, "minItems", "maxItems", at)
        fixed, items = schema.get("prefixItems", []), schema.get("items", True)
        if not isinstance(fixed, list):
            self._refuse(at, f"prefixItems is {fixed!r}; a list of schemas would be right")
        first = [self._value(each, f"{at}/prefixItems/{place}") for place, each in enumerate(fixed)]
        if items is False:
            high = len(first) if high is None else min(high, len(first))
            item = grammar.none
        else:
            item = self._value(items, f"{at}/items")
        first = first if high is None else first[:high]
        more = None if high is None else max(high - len(first), 0)
        rest = grammar.many(grammar.seq(self._comma, item), max(low - len(first), 0), more)
        if not first:  # the first of the others has no comma before it
            more = None if high is None else max(high - 1, 0)
            inner = grammar.seq(item, grammar.many(grammar.seq(self._comma, item), max(low - 1, 0), more))
            inner = grammar.none if high == 0 else inner
            inner = grammar.maybe(inner) if low == 0 else inner
        else:
            inner = rest
            for place in reversed(range(len(first))):
                inner = grammar.seq(self._comma if place else grammar.empty, first[place], inner)
                inner = grammar.maybe(inner) if low <= place else inner
        return grammar.seq(grammar.literal(b"["), self._space, inner, self._space, grammar.literal(b"]"))

    def _object(self, schema: Mapping[str, Any], at: str) -> Node:
        grammar = self._grammar
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            self._refuse(at, "properties is to be an object and required a list of names")
        others = schema.get("additionalProperties", not properties)
        named = {name: self._value(each, f"{at}/properties/{name}") for name, each in properties.items()}
        for name in required:
            if name not in named:
                if schema.get("additionalProperties") is False:
                    self._refuse(at, f"{name!r} is required and no property")
                named[name] = self._value(schema.get("additionalProperties", True), f"{at}/additionalProperties")
        inner = {False: grammar.empty, True: grammar.empty}  # by whether a property is before it
        if others is not False:
            pair = self._pair(self._other(named), self._value(others, f"{at}/additionalProperties"))
            after = grammar.many(grammar.seq(self._comma, pair))
            inner = {True: after, False: grammar.maybe(grammar.seq(pair, after))}
        for name, value in reversed(named.items()):
            pair = self._pair(self._literal(name), value)
            with_it = {
                True: grammar.seq(self._comma, pair, inner[True]),
                False: grammar.seq(pair, inner[True]),
            }
            inner = with_it if name in required else {begun: grammar.alt(with_it[begun], inner[begun]) for begun in (False, True)}
        return grammar.seq(grammar.literal(b"{"), self._space, inner[False], self._space, grammar.literal(b"}"))

    def _pair(self, key: Node, value: Node) -> Node:
        return self._grammar.seq(key, self._colon, value)

    def _other(self, names: Mapping[str, Any]) -> Node:
        """A key that is none of these."""
        grammar, quote = self._grammar, self._grammar.literal(b'"')
        if not names:
            return grammar.seq(quote, grammar.many(self._letter), quote)
        taken = grammar.alt(*(grammar.literal(json.dumps(name, ensure_ascii=False)[1:-1].encode()) for name in names))
        letters = grammar.many(character(grammar, [(0, TOP)], self._ascii))
        return grammar.seq(quote, grammar.both(letters, grammar.no(taken)), quote)

    def _constant(self, value: Any) -> Node:
        grammar = self._grammar
        if not isinstance(value, dict | list):
            return self._literal(value)
        if isinstance(value, dict):
            parts = [self._pair(self._literal(name), self._constant(each)) for name, each in value.items()]
        else:
            parts = [self._constant(each) for each in value]
        inner = [each for part in parts for each in (self._comma, part)][1:]
        begin, end = (b"{", b"}") if isinstance(value, dict) else (b"[", b"]")
        return grammar.seq(grammar.literal(begin), *inner, grammar.literal(end))

    def _literal(self, value: Any) -> Node:
        return self._grammar.literal(json.dumps(value, ensure_ascii=self._ascii, allow_nan=False).encode())

    def _counts(self, schema: Mapping[str, Any], least: str, most: str, at: str) -> tuple[int, int | None]:
        for name in (least, most):
            value = schema.get(name, 0)
            if type(value) is not int or value < 0:
                self._refuse(at, f"{name} is {value!r}; a whole number of 0 or more would be right")
        low, high = schema.get(least, 0), schema.get(most)
        if high is not None and high < low:
            self._refuse(at, f"{least} is {low} and {most} {high}")
        return low, high

    def _refuse(self, at: str, what: str) -> NoReturn:
        raise ConfigError(f"the schema at {at!r}: {what}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    python = {"object": dict, "array": list, "string": str, "number": (int, float), "null": type(None)}[kind]
    return isinstance(value, python)
