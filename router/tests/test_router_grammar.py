"""The `grammar` of a request, in each of its forms, as the constraint that shards hold."""

import json
from typing import Any

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_router.api.body import parse
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.grammar import grammar_of
from inlay_router.schemas import GrammarBody

LIMITS = Limits(max_input_tokens=100, max_total_tokens=120)


def constraint(grammar: dict[str, Any], limits: Limits = LIMITS) -> pb.Grammar:
    return grammar_of(parse(json.dumps(grammar).encode(), GrammarBody), limits)


def refusal(grammar: dict[str, Any], limits: Limits = LIMITS) -> str:
    with pytest.raises(ValidationError) as caught:
        constraint(grammar, limits)
    return str(caught.value).removeprefix("Input validation error: ")


@pytest.mark.parametrize(
    ("grammar", "kind", "value"),
    [
        ({"type": "regex", "value": "a+"}, pb.Grammar.KIND_REGEX, "a+"),
        ({"type": "json", "value": {"type": "object"}}, pb.Grammar.KIND_JSON, '{"type": "object"}'),
        ({"type": "json", "value": '{"a":1}'}, pb.Grammar.KIND_JSON, '{"a":1}'),
        ({"type": "json_object", "value": {}}, pb.Grammar.KIND_JSON, "{}"),
        (
            {"type": "json_schema", "value": {"name": "n", "strict": True, "schema": {"b": 1}}},
            pb.Grammar.KIND_JSON,
            '{"b": 1}',
        ),
        ({"type": "json_object"}, pb.Grammar.KIND_JSON, '{"type": "object"}'),
        ({"type": "choice", "value": ["a", "b"]}, pb.Grammar.KIND_CHOICE, '["a", "b"]'),
        ({"type": "grammar", "value": "start: /a/"}, pb.Grammar.KIND_GRAMMAR, "start: /a/"),
    ],
)
def test_a_grammar_has_one_of_six_types(grammar: Any, kind: Any, value: str) -> None:
    found = constraint(grammar)
    assert (found.kind, found.value) == (kind, value)
    assert (found.backend, found.whitespace) == ("auto", "flexible")


@pytest.mark.parametrize(("strict", "is_lenient"), [({}, False), ({"strict": False}, True)])
def test_leniency_is_only_by_strict_that_is_false(strict: Any, is_lenient: bool) -> None:
    grammar = {"type": "json_schema", "value": {"schema": {}, **strict}}
    assert constraint(grammar).is_lenient is is_lenient


@pytest.mark.parametrize(
    ("grammar", "sentence"),
    [
        (
            {"type": "xml", "value": "a"},
            "grammar is not valid: `type` must be `json`, `json_object`, `json_schema`, `regex`, "
            "`choice` or `grammar`. Given: `xml`",
        ),
        (
            {"type": "regex", "value": 1},
            "grammar is not valid: `value` of a regex must be a string",
        ),
        ({"type": "json", "value": 1}, "grammar is not supported"),
        ({"type": "json", "value": None}, "grammar is not supported"),
        ({"type": "json", "value": ["a"]}, "grammar is not supported"),
        (
            {"type": "json_schema", "value": {"name": "n"}},
            "grammar is not valid: `value` must be an object with a `schema`",
        ),
        (
            {"type": "json_schema", "value": "a"},
            "grammar is not valid: `value` must be an object with a `schema`",
        ),
        (
            {"type": "json_schema", "value": {"schema": "a"}},
            "grammar is not valid: `schema` must be an object",
        ),
        (
            {"type": "json"},
            "grammar is not valid: `value` is missing",
        ),
    ],
)
def test_a_grammar_of_another_shape_is_refused(grammar: Any, sentence: str) -> None:
    assert refusal(grammar) == sentence


def test_grammars_may_be_disabled() -> None:
    limits = Limits(max_input_tokens=1, max_total_tokens=2, has_grammars=False)
    assert refusal({"type": "regex", "value": "a"}, limits) == "grammar is not supported"
