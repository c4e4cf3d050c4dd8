"""Keywords that no backend enforces are said in others, and mean the same to a validator."""

import json
from typing import Any

import jsonschema
import pytest
from jsonschema.validators import validator_for
from random_walks import RandomWalks
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.spec import GrammarError, GrammarSpec

ABC: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in "abc"},
}
CLOSED = ABC | {"additionalProperties": False}
OBJECTS: list[Any] = [{}, {"a": 1}, {"b": 1}, {"c": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}]
OBJECTS += [{"a": 1, "b": 2, "c": 3}, {"b": 1, "c": 1}, {"d": 1}, {"a": 1, "d": 1}]
VALUES: list[Any] = ["", "a", "b", "ab", "éa", "a\n", 1, 2, 1.5, -1, True, False, None]
VALUES += [[], [1], [1, 2], [1, 1], [2, 1, 3], [True], [True, False], {}, {"a": 1}]


@pytest.fixture
def walks(tokenizer: Tokenizer, vocab_size: int, eos_token_ids: list[int]) -> RandomWalks:
    return RandomWalks(tokenizer, vocab_size, eos_token_ids)


def check(
    compiler: GrammarCompiler, walks: RandomWalks, schema: dict[str, Any], values: list[Any]
) -> None:
    judge = validator_for(schema, jsonschema.Draft202012Validator)(schema)
    grammar = compiler.compile(GrammarSpec("json", json.dumps(schema)))
    verdicts = [judge.is_valid(value) for value in values]
    assert len(set(verdicts)) == 2, "a test that cannot fail"
    for value, is_valid in zip(values, verdicts, strict=True):
        token_ids = walks.tokenizer.encode(json.dumps(value, ensure_ascii=False)).ids
        assert walks.accepts(grammar.matcher(), token_ids) is is_valid, value


@pytest.mark.parametrize(
    "schema",
    [
        ABC | {"dependentRequired": {"a": ["b"]}},
        ABC | {"dependentRequired": {"a": ["b"], "b": ["c"]}},
        ABC | {"dependentSchemas": {"a": {"properties": {"b": {"minimum": 2}}}}},
        ABC | {"not": {"required": ["a"]}},
        ABC | {"not": {"required": ["a", "b"]}},
        ABC | {"not": {"properties": {"a": {"const": 1}}}},
        ABC | {"anyOf": [{"not": {"required": ["a"]}}, {"required": ["c"]}]},
        ABC | {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        ABC | {"oneOf": [{"required": ["a"]}, {"required": ["b"]}, {"required": ["c"]}]},
        ABC | {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}},
        ABC | {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}},
        ABC | {"unevaluatedProperties": False},
        CLOSED | {"minProperties": 2},
        CLOSED | {"maxProperties": 1},
        CLOSED | {"minProperties": 1, "maxProperties": 2, "required": ["b"]},
    ],
)
def test_objects(compiler: GrammarCompiler, walks: RandomWalks, schema: dict[str, Any]) -> None:
    check(compiler, walks, schema, OBJECTS)


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"const": "a"}},
        {"not": {"enum": ["a", "ab", "", 1, None, True]}},
        {"not": {"type": "string"}},
        {"not": {"type": ["string", "number"]}},
        {"not": {"minimum": 2}},
        {"not": {"exclusiveMaximum": 1}},
        {"not": {"maxItems": 1}},
        {"not": {"minLength": 1}},
        {"not": {"anyOf": [{"type": "string"}, {"minimum": 1.2}]}},
        {"not": {"allOf": [{"type": "number"}, {"not": {"minimum": 2}}]}},
        {"not": {"$ref": "#/$defs/text"}, "$defs": {"text": {"type": "string"}}},
        {"type": "string", "not": {"maxLength": 1}},
        {"oneOf": [{"type": "number", "minimum": 1.5}, {"type": "number", "maximum": 1.5}]},
        {"oneOf": [{"const": "a"}, {"type": "string"}]},
        {"oneOf": [{"type": "string", "pattern": "b"}, {"type": ["integer", "null"]}]},
        {"if": {"type": "string"}, "then": {"maxLength": 1}, "else": {"const": 1}},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
        {"type": "array", "maxItems": 1, "uniqueItems": True},
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": False},
    ],
)
def test_values(compiler: GrammarCompiler, walks: RandomWalks, schema: dict[str, Any]) -> None:
    check(compiler, walks, schema, VALUES)


DRAFT_4 = {"$schema": "http://json-schema.org/draft-04/schema#"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
        {"type": "number", "maximum": 2, "exclusiveMaximum": True},
        {"type": "number", "maximum": 1, "exclusiveMaximum": False},
        {"not": {"minimum": 1, "exclusiveMinimum": True}},
        {"not": {"type": "string"}, "id": "http://example.org/schema.json"},
        {"type": "integer", "format": "int32"},
        {"oneOf": [{"$ref": "#/definitions/s"}, {"minimum": 2}], "definitions": {"s": {}}},
    ],
)
def test_draft_4(compiler: GrammarCompiler, walks: RandomWalks, schema: dict[str, Any]) -> None:
    check(compiler, walks, DRAFT_4 | schema, VALUES)


@pytest.mark.parametrize(
    "schema",
    [
        {"const": 1, "not": {"type": "string"}},
        {"not": {"exclusiveMinimum": 1}},
        {"not": {"type": "string"}, "properties": {"a": {"id": "b", "type": "string"}}},
        {"not": {"type": "string"}, "properties": {"a": {"$ref": "other.json"}}},
        {"not": {"type": "string"}, "properties": {"a": {"$ref": "#name"}}},
    ],
)
def test_draft_4_that_means_another_is_not_rewritten(
    compiler: GrammarCompiler, schema: dict[str, Any]
) -> None:
    with pytest.raises(GrammarError, match="`not` at `/not`"):
        compiler.compile(GrammarSpec("json", json.dumps(DRAFT_4 | schema)))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("json-pointer", ["", "/a/~01", "/é"], ["a", "/~2"]),
        ("relative-json-pointer", ["0", "12/a", "1#"], ["01", "/a", ""]),
        ("no-such-format", ["", "whatever"], []),
        ("int32", ["text"], []),
    ],
)
def test_formats_of_ours_and_of_nobody(
    compiler: GrammarCompiler, walks: RandomWalks, name: str, right: list[str], wrong: list[str]
) -> None:
    schema = {"type": "string", "format": name}
    grammar = compiler.compile(GrammarSpec("json", json.dumps(schema)))
    for text, is_right in [(t, True) for t in right] + [(t, False) for t in wrong]:
        token_ids = walks.tokenizer.encode(json.dumps(text, ensure_ascii=False)).ids
        assert walks.accepts(grammar.matcher(), token_ids) is is_right, text


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {
            "$ref": "#/$defs/a",
            "$defs": {
                "a": {
                    "type": "object",
                    "properties": {"b": {"$ref": "#/$defs/b"}},
                    "required": ["b"],
                },
                "b": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 2},
            },
        },
    ],
)
def test_a_schema_without_a_finite_instance_is_refused(
    compiler: GrammarCompiler, schema: dict[str, Any]
) -> None:
    with pytest.raises(GrammarError, match="no answer is finite"):
        compiler.compile(GrammarSpec("json", json.dumps(schema)))


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["a"]},
        {"properties": {"a": {"$ref": "#"}}},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": ["array", "null"], "items": {"$ref": "#"}, "minItems": 1},
    ],
)
def test_recursion_that_can_end_is_allowed(
    compiler: GrammarCompiler, schema: dict[str, Any]
) -> None:
    compiler.compile(GrammarSpec("json", json.dumps(schema)))


@pytest.mark.parametrize(
    "schema",
    [
        *({keyword: 3} for keyword in ("not", "oneOf", "allOf", "properties", "enum", "format")),
        *({keyword: 3} for keyword in ("uniqueItems", "items", "type", "$ref", "required")),
        {"dependencies": {"a": "b"}},
        {"dependentRequired": {"a": [1]}},
        {"not": {"required": True}},
        {"not": {"enum": 3}},
        {"if": 3, "then": 4},
        {"oneOf": [3, 4]},
        {"allOf": 3, "not": {}},
        {"properties": [{}]},
    ],
)
def test_what_is_no_schema_is_refused(compiler: GrammarCompiler, schema: dict[str, Any]) -> None:
    with pytest.raises(GrammarError):
        compiler.compile(GrammarSpec("json", json.dumps(schema)))


@pytest.mark.parametrize(
    ("schema", "warning"),
    [
        ({"properties": {"a": {"not": {"pattern": "x"}}}}, "`not` at `/properties/a/not`"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, "`oneOf` at `/oneOf`"),
    ],
)
def test_leniency_is_asked_for_and_says_what_is_not_enforced(
    compiler: GrammarCompiler, schema: dict[str, Any], warning: str
) -> None:
    text = json.dumps(schema)
    with pytest.raises(GrammarError, match=warning):
        compiler.compile(GrammarSpec("json", text))
    lenient = compiler.compile(GrammarSpec("json", text, is_strict=False))
    assert warning in lenient.template.warnings[0]


def test_leniency_changes_nothing_where_all_can_be_enforced(compiler: GrammarCompiler) -> None:
    grammar = compiler.compile(GrammarSpec("json", '{"not": {"type": "null"}}', is_strict=False))
    assert grammar.template.warnings == ()
    with pytest.raises(GrammarError, match="Unsatisfiable"):
        compiler.compile(GrammarSpec("json", '{"not": {}, "type": "null"}', is_strict=False))
