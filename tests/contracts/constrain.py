"""Text held to a JSON schema: whatever is drawn parses, is valid, and ends in the room there is."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.errors import ConfigError
from pyruvllm.models.constrain import json_schema, matching
from pyruvllm.models.constrain.constraint import tree_of
from pyruvllm.models.tokenizer import load
from pyruvllm.models.tokenizer.bytebpe import ALPHABET
from tests.generators.schemas import invalid, schemas, valid_for

WORDS = ["Ġ", "Ġthe", "true", "false", "null", '":', '":Ġ', '",Ġ"', '"}', "[]", '{"', "na", "name", '"name', "10", "2026", "-1", "ab"]
WORDS += ["Ã©", "âĤ¬", "\\n", "}]"]
TOKENS = [*ALPHABET, *dict.fromkeys(WORDS), "<|im_end|>"]
END = len(TOKENS) - 1
TOKENIZER = load(
    {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.token_type": np.array([1] * END + [3], np.int32),
        "tokenizer.ggml.eos_token_id": END,
    }
)


def drawn(constraint, random, room, patience=0.9):
    """A text of tokens that are all as likely, but ends that come seldom."""
    state, ids, short = constraint.start, [], False
    while room > len(ids):
        allowed, narrowed = constraint.allowed(state, room - len(ids))
        short |= narrowed
        if allowed is None:
            break
        choices = np.flatnonzero(allowed)
        assert choices.size, TOKENIZER.decode(ids)
        id = int(random.choice(choices))
        if id == END and choices.size > 1 and random.random() < patience:
            id = int(random.choice(choices[choices != END]))
        if id == END:
            break
        ids.append(id)
        state = constraint.next(state, id)
    return b"".join(map(TOKENIZER.piece, ids)).decode()


def accepts(constraint, text):
    """Byte by byte."""
    state = constraint.start
    for byte in text.encode():
        state = constraint._automaton.after(state, bytes([byte]))
    return state != 0 and constraint._automaton.ends(state)


@settings(max_examples=40, deadline=None)
@given(schemas(), st.integers(0, 2**32), st.sampled_from([0, 3, 200]))
def test_what_is_drawn_parses_and_is_valid_and_ends_in_time(schema, seed, spare):
    constraint = json_schema(schema, TOKENIZER, len(TOKENS))
    least = int(constraint._automaton.least[constraint.start])
    text = drawn(constraint, np.random.default_rng(seed), least + spare)
    assert (why := invalid(json.loads(text), schema, schema)) is None, (text, why)


@settings(max_examples=40, deadline=None)
@given(st.data(), schemas())
def test_a_valid_value_can_be_said(data, schema):
    value = data.draw(valid_for(schema, schema))
    constraint = json_schema(schema, TOKENIZER, len(TOKENS))
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps(value, ensure_ascii=False, separators=separators)
        assert accepts(constraint, text), text


RECURSIVE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["name", "children"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize("schema", [True, {}, {"type": "object"}, RECURSIVE], ids=["true", "empty", "object", "recursive"])
def test_values_of_any_depth(schema):
    constraint, random = json_schema(schema, TOKENIZER, len(TOKENS)), np.random.default_rng(1)
    for _ in range(20):
        value = json.loads(drawn(constraint, random, 150))
        assert invalid(value, schema, schema) is None
    assert accepts(json_schema(RECURSIVE, TOKENIZER, len(TOKENS)), '{"name":"a","children":[{"name":"b","children":[]}]}')
    assert not accepts(json_schema(RECURSIVE, TOKENIZER, len(TOKENS)), '{"name":"a","children":[{"name":"b"}]}')


PATTERNS = [
    *("^a+$", "b", "^[a-c]{2,4}x?$", "^(ab|cd)*$", r"^\d{3}-\d{4}$", r"^\w+@\w+\.(com|org)$", "^[^a-z]{1,3}$", r"^[\w.-]{0,5}$", "^é€?$"),
    *(r"^\$\d+(\.\d\d)?$", "^a|b$", '^["\\\\]{1,2}$', r"^\S+\s\S+$", "^.{0,3}$", "^(?:x|(?<n>y)){2}$", r"^\u0041\x42$", "^a*?b+?$"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_those_of_regular_expressions(pattern):
    constraint, random = json_schema({"type": "string", "pattern": pattern}, TOKENIZER, len(TOKENS)), np.random.default_rng(2)
    python = re.compile(pattern.replace("(?<", "(?P<"), re.ASCII)
    for _ in range(12):
        assert python.search(json.loads(drawn(constraint, random, 40)))
    alphabet = 'ab1xcd-.@"é€ \\$AB'
    for _ in range(150):
        text = "".join(random.choice(list(alphabet), random.integers(0, 6)))
        assert accepts(constraint, json.dumps(text, ensure_ascii=False)) == bool(python.search(text)), text


def test_a_pattern_and_lengths_hold_together():
    constraint = json_schema({"type": "string", "pattern": "^(ab)+$", "minLength": 5, "maxLength": 9}, TOKENIZER, len(TOKENS))
    assert [text for n in range(8) if accepts(constraint, text := f'"{"ab" * n}"')] == ['"ababab"', '"abababab"']
    with pytest.raises(ConfigError, match="no value"):
        json_schema({"type": "string", "pattern": "^(ab)+$", "minLength": 3, "maxLength": 3}, TOKENIZER, len(TOKENS))


BOUNDS = [
    {"minimum": 0, "maximum": 130}, {"minimum": -5, "maximum": 5}, {"exclusiveMinimum": 0}, {"exclusiveMaximum": 0}, {"minimum": 99},
    {"maximum": -99}, {"minimum": 0.25, "maximum": 1.5}, {"exclusiveMinimum": -1.05, "exclusiveMaximum": 12.5},
    {"minimum": 10, "maximum": 10}, {"exclusiveMinimum": 1000, "maximum": 20000}, {"minimum": -0.001, "exclusiveMaximum": 0.001},
]  # fmt: skip


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_numbers_keep_to_their_bounds(kind, bounds):
    random, schema = np.random.default_rng(3), {"type": kind, **bounds}
    constraint = json_schema(schema, TOKENIZER, len(TOKENS))
    for _ in range(15):
        text = drawn(constraint, random, 20, patience=0.5)
        assert invalid(json.loads(text), schema, schema) is None, text
    near = [value for bound in bounds.values() for value in (bound - 1, bound, bound + 1, bound + 0.0005, bound - 0.25, -bound, 10 * bound)]
    for value in near:
        value = int(value) if kind == "integer" else round(value, 6)
        text = format(value, "d" if kind == "integer" else ".6f")
        assert accepts(constraint, text) == (invalid(value, schema, schema) is None), text


def test_strings_hold_any_character_and_no_half_ones():
    constraint = json_schema({"type": "string", "minLength": 2, "maxLength": 3}, TOKENIZER, len(TOKENS))
    for text in ('"é€"', '"\U0001f600ab"', r'"\n\u00e9"', '"\\"\\\\"', '"\x7f\u07ff\uffff"'):
        assert accepts(constraint, text), text
    for text in ('"a"', '"abcd"', r'"\ud800a"', '"a\nb"', '"ab', r'"\x41a"'):
        assert not accepts(constraint, text), text
    state = constraint._automaton.start
    for wrong in (b'"\xc0\x80', b'"\xed\xa0', b'"\xf4\x90', b'"\xf5', b'"\x80'):
        assert constraint._automaton.after(state, wrong) == 0


def test_other_properties_have_other_names():
    schema = {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "integer"}}
    constraint = json_schema(schema, TOKENIZER, len(TOKENS))
    assert accepts(constraint, '{"a":null,"b":1,"aa":2,"":3}') and accepts(constraint, '{"b":1}') and accepts(constraint, "{}")
    assert not accepts(constraint, '{"a":1}') and not accepts(constraint, '{"b":1,"a":2}') and not accepts(constraint, '{"b":null}')


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "object", "patternProperties": {}}, "'patternProperties' is not understood"),
        ({"not": {}}, "'not' is not understood"),
        ({"type": "array", "uniqueItems": True}, "'uniqueItems' is not understood"),
        ({"type": "integer", "multipleOf": 3}, "'multipleOf' is not understood"),
        ({"type": "text"}, "the type 'text'"),
        ({"type": "string", "format": "uri"}, "the format 'uri'"),
        ({"type": "string", "pattern": "(?=a)"}, "looking around"),
        ({"type": "string", "pattern": r"\bword"}, r"\\b is not understood"),
        ({"type": "string", "pattern": r"(a)\1"}, r"\\1 is not understood"),
        ({"type": "string", "pattern": "(^a)"}, "'\\^' at 1"),
        ({"type": "string", "pattern": "(a"}, "a group that does not end"),
        ({"$ref": "other.json#/x"}, "in the same schema"),
        ({"$ref": "#/$defs/none"}, "points to nothing"),
        ({"$ref": "#"}, "is itself"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no value that ends"),
        ({"allOf": [{}, {}]}, "'allOf' of several"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "'oneOf' of schemas"),
        ({"enum": []}, "a list of values"),
        ({"enum": ["a"], "pattern": "a"}, "'pattern' beside 'enum'"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "minLength is 3"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "'a' is required"),
        ({"type": "object", "properties": {"a": False}}, "is False"),
        ([], "is \\[\\]"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(schema, says):
    with pytest.raises(ConfigError, match=says):
        json_schema(schema, TOKENIZER, len(TOKENS))


def test_one_of_schemas_that_cannot_both_be():
    part = {"type": "object", "required": ["kind"], "additionalProperties": False}
    schema = {"oneOf": [{**part, "properties": {"kind": {"const": kind}, kind: {"type": "integer"}}} for kind in ("a", "b")]}
    constraint = json_schema(schema, TOKENIZER, len(TOKENS))
    assert accepts(constraint, '{"kind":"a","a":1}') and not accepts(constraint, '{"kind":"a","b":1}')
    assert accepts(json_schema({"oneOf": [{"type": "string"}, {"type": "null"}]}, TOKENIZER, len(TOKENS)), "null")


def test_what_the_room_cannot_hold_is_refused():
    with pytest.raises(ConfigError, match="max_tokens is 3"):
        json_schema({"enum": ["a long one"]}, TOKENIZER, len(TOKENS)).check(3)


def test_the_tree_of_a_vocabulary_finds_each_token():
    constraint = matching("[a-z]*", TOKENIZER, len(TOKENS))
    reached = tree_of(TOKENIZER).reached(constraint._automaton, constraint.start)
    for id in range(len(TOKENS)):
        piece = TOKENIZER.piece(id)
        assert bool(reached[id]) == (bool(piece) and constraint._automaton.after(constraint.start, piece) != 0)


def test_a_tokenizer_without_single_bytes_is_refused():
    tokens = ["<unk>", "{", "}", *"abc"]
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": np.zeros(6, np.float32)}
    metadata |= {"tokenizer.ggml.unknown_token_id": 0}
    with pytest.raises(ConfigError, match="no token for the byte 0x0a"):
        json_schema({}, load(metadata), 6)
