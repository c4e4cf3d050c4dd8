"""Alternatives of `oneOf` that cannot both hold need no opposites; the claim is never wrong."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_faults import judge_of
from random_schemas import random_schema

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.schemas.disjoint import Disjointness
from inlay_grammars.spec import GrammarSpec

DEFINITIONS = {"text": {"type": "string", "pattern": "x"}, "numbers": {"type": "array"}}


def of_kind(value: str) -> dict[str, Any]:
    """Objects whose property `kind` has one value, and all that is no object."""
    return {"properties": {"kind": {"const": value}}, "required": ["kind"]}


def tagged(value: str) -> dict[str, Any]:
    """Objects whose property `kind` has one value."""
    return {"type": "object"} | of_kind(value)


def closed(*names: str) -> dict[str, Any]:
    """An object that has these properties and no others."""
    properties = dict.fromkeys(names, {"pattern": "x"})
    return {
        "type": "object",
        "properties": properties,
        "required": [*names],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "string"}, {"type": ["integer", "null"]}),
        ({"$ref": "#/$defs/text"}, {"$ref": "#/$defs/numbers"}),
        ({"enum": ["a", 1]}, {"enum": ["b", True]}),
        ({"const": "a"}, {"type": "boolean"}),
        (tagged("a"), tagged("b")),
        ({"allOf": [tagged("a")]}, {"allOf": [{"maxProperties": 3}, tagged("b")]}),
        (closed("a"), {"type": "object", "required": ["b"]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "number"}),
        (False, {}),
    ],
)
def test_what_excludes_each_other(one: Any, other: Any) -> None:
    disjointness = Disjointness({"$defs": DEFINITIONS})
    assert disjointness.holds(one, other)
    assert disjointness.holds(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"type": "string"}),
        (True, {"type": "string"}),
        ({"type": "integer"}, {"type": "number"}),
        ({"enum": [1]}, {"enum": [1.0]}),
        ({"type": "string", "maxLength": 1}, {"type": "string", "minLength": 2}),
        (of_kind("a"), of_kind("b")),
        (tagged("a"), tagged("b") | {"required": []}),
        ({"additionalProperties": False}, {"required": ["b"]}),
        ({"$ref": "#/$defs/text", "type": "null"}, {"type": "string"}),
        ({"$ref": "#/$defs/nowhere"}, {"type": "string"}),
        ({"anyOf": []}, {"type": "string"}),
        (3, {"type": "string"}),
    ],
)
def test_what_may_not(one: Any, other: Any) -> None:
    disjointness = Disjointness({"$defs": DEFINITIONS})
    assert not disjointness.holds(one, other)
    assert not disjointness.holds(other, one)


@settings(deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_no_value_satisfies_what_is_called_disjoint(chance: Random) -> None:
    sorts = [random_schema(chance) for _ in range(2)]
    one, other = (sort.schema for sort in sorts)
    if Disjointness({}).holds(one, other):
        values: list[Any] = [sort.make(chance) for sort in sorts for _ in range(3)]
        judges = [judge_of(schema) for schema in (one, other)]
        assert not any(all(judge.is_valid(value) for judge in judges) for value in values)


def test_a_hostile_schema_is_given_up() -> None:
    root: dict[str, Any] = {"anyOf": [{"$ref": "#"}] * 30, "allOf": [{"$ref": "#"}] * 30}
    assert not Disjointness(root).holds(root, root)


def test_alternatives_without_opposites_can_be_told_apart(compiler: GrammarCompiler) -> None:
    schema = {"oneOf": [{"$ref": "#/$defs/text"}, closed("a"), closed("b", "c")]}
    text = json.dumps(schema | {"$defs": DEFINITIONS})
    assert compiler.compile(GrammarSpec("json", text)).template.warnings == ()
