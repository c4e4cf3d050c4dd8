"""Times and numbers that a validator would not take are not written."""

import copy
import json

import pytest
from random_walks import RandomWalks
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.schemas.exact import narrow
from inlay_grammars.spec import GrammarSpec


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("date", ["2024-02-29", "0001-01-01", "0999-12-31"], ["0000-12-01", "2023-02-29"]),
        ("time", ["23:59:59Z", "00:00:00.25+01:30"], ["23:59:60Z", "12:10:60Z", "24:00:00Z"]),
        (
            "date-time",
            ["2026-11-21T10:11:12Z", "0040-02-03T23:59:59.1234-08:00"],
            ["2026-11-21T10:11:60Z", "0000-11-21T10:11:12Z", "2026-11-21"],
        ),
        ("hostname", ["a.b", "a" * 63 + ".b"], ["a" * 64 + ".b", ".".join(["a" * 63] * 4)]),
    ],
)
def test_formats(
    compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    vocab_size: int,
    eos_token_ids: list[int],
    name: str,
    right: list[str],
    wrong: list[str],
) -> None:
    walks = RandomWalks(tokenizer, vocab_size, eos_token_ids)
    for schema in (
        {"type": "string", "format": name},
        {"type": "string", "format": name, "pattern": "^[^x]*$", "allOf": [{"minLength": 3}]},
    ):
        grammar = compiler.compile(GrammarSpec("json", json.dumps(schema)))
        for text, is_right in [(t, True) for t in right] + [(t, False) for t in wrong]:
            token_ids = tokenizer.encode(json.dumps(text)).ids
            assert walks.accepts(grammar.matcher(), token_ids) is is_right, text


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"exclusiveMinimum": 0, "maximum": 0.25}, ["0.25", "0.1", "0.001"], ["0", "0.0", "-0"]),
        ({"exclusiveMaximum": -3, "minimum": -3.3}, ["-3.3", "-3.1"], ["-3", "-3.0"]),
        ({"exclusiveMinimum": 2.0, "exclusiveMaximum": 2.8}, ["2.5"], ["2", "2.8"]),
        ({"exclusiveMinimum": 0, "minimum": 0.5, "maximum": 0.75}, ["0.5"], ["0", "0.1"]),
        ({"exclusiveMinimum": 0, "minimum": -1, "maximum": 0.5}, ["0.5"], ["0", "-1"]),
        ({"exclusiveMinimum": 10**15, "maximum": 10**15 + 8}, ["1000000000000002"], [str(10**15)]),
        ({"type": "integer", "exclusiveMinimum": 3, "maximum": 5}, ["4", "5"], ["3", "6"]),
    ],
)
def test_exclusive_bounds(
    compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    vocab_size: int,
    eos_token_ids: list[int],
    schema: dict[str, object],
    right: list[str],
    wrong: list[str],
) -> None:
    walks = RandomWalks(tokenizer, vocab_size, eos_token_ids)
    spec = GrammarSpec("json", json.dumps({"type": "number", **schema}))
    grammar = compiler.compile(spec)
    for text in right:
        assert walks.accepts(grammar.matcher(), tokenizer.encode(text).ids), text
    for text in wrong:
        assert not walks.accepts(grammar.matcher(), tokenizer.encode(text).ids), text


def test_only_schemas_are_changed() -> None:
    plain = {
        "const": {"format": "date"},
        "enum": [{"format": "time"}],
        "properties": {"format": {"type": "string"}, "enum": {"const": "date"}},
        "format": ["date"],
        "anyOf": [True, {"format": "email"}],
        "exclusiveMinimum": True,
        "exclusiveMaximum": 1e300,
    }
    narrowed = copy.deepcopy(plain)
    narrow(narrowed)
    assert narrowed == plain


def test_schemas_are_found_wherever_they_stand() -> None:
    schema = {
        "properties": {"enum": {"format": "date"}},
        "$defs": {"const": {"format": "time"}},
        "prefixItems": [{"format": "date-time"}, {"$ref": "#/$defs/const"}],
        "items": {"additionalProperties": {"format": "date"}},
    }
    narrow(schema)
    assert json.dumps(schema).count('"pattern"') == 4
