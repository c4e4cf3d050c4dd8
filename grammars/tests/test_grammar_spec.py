"""Limits are counted in plain Python and name themselves."""

import json

import pytest

from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits, check_size, parse_schema

LIMITS = SpecLimits(max_bytes=200, max_depth=5, max_refs=2, max_alternatives=4, max_regex_bytes=10)


def test_the_kind_is_part_of_the_digest() -> None:
    assert GrammarSpec("json", "{}").digest() != GrammarSpec("regex", "{}").digest()
    assert GrammarSpec("json", "{}").digest() == GrammarSpec("json", "{}").digest()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (GrammarSpec("json", "x" * 201), "the JSON schema has 201 bytes; the limit is 200"),
        (GrammarSpec("regex", "é" * 6), "the regex has 12 bytes; the limit is 10"),
        (GrammarSpec("regex", "\ud800"), "lone surrogate"),
    ],
)
def test_size_is_limited_in_bytes(spec: GrammarSpec, words: str) -> None:
    with pytest.raises(GrammarError, match=words):
        check_size(spec, LIMITS)


def test_what_is_exactly_at_the_limit_passes() -> None:
    check_size(GrammarSpec("json", "x" * 200), LIMITS)
    check_size(GrammarSpec("regex", "é" * 5), LIMITS)
    at_limit = {"a": {"b": {"c": {"d": {}}}}, "enum": [1, 2, 3, 4]}
    assert parse_schema(json.dumps(at_limit), LIMITS) == at_limit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON: Expecting value"),
        ("{", "is not JSON: Expecting property name"),
        ('{"minimum": NaN}', "is not JSON: it holds NaN"),
        ("true", "must be an object, not a boolean"),
        ("[]", "must be an object, not an array"),
        ("null", "must be an object, not null"),
        ('"{}"', "must be an object, not a string"),
        ("3", "must be an object, not a number"),
        ("[" * 100_000, "nested too deeply; the limit is 5 levels"),
        ('{"a":{"b":{"c":{"d":{"e":{}}}}}}', "nested more than 5 levels deep"),
        ('{"a":[[[[[]]]]]}', "nested more than 5 levels deep"),
        ('{"enum":[1,2,3],"anyOf":[{},{}]}', "has 5 alternatives; the limit is 4"),
        (
            '{"allOf":[{"$ref":"#/a"},{"$ref":"#/b"},{"$ref":"#/c"}]}',
            "has 3 `\\$ref` targets; the limit is 2",
        ),
    ],
)
def test_a_schema_that_is_none_or_too_large_is_refused(text: str, words: str) -> None:
    with pytest.raises(GrammarError, match=words):
        parse_schema(text, LIMITS)


def test_only_different_ref_targets_count_and_a_property_may_be_named_ref() -> None:
    schema = {"allOf": [{"$ref": "#/a"}] * 4, "properties": {"$ref": {"$ref": "#/b"}}}
    assert parse_schema(json.dumps(schema), LIMITS) == schema


def test_property_order_is_kept() -> None:
    names = parse_schema('{"z": 1, "a": 2, "m": 3}', LIMITS)
    assert list(names) == ["z", "a", "m"]
