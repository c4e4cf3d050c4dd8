"""Valid answers can be written, and what is written is valid by an independent judge."""

import json
import random
import re

import jsonschema
import numpy as np
import pytest
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.mask import BatchMask
from inlay_grammars.spec import GrammarSpec

Schema = dict[str, object]

NUM_SPECIAL_TOKENS = 3

TREE: Schema = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "children": {
                    "type": "array",
                    "items": {"$ref": "#/$defs/node"},
                    "maxItems": 2,
                },
            },
            "required": ["value"],
            "additionalProperties": False,
        }
    },
}

SCHEMAS: list[tuple[Schema, list[object]]] = [
    ({"type": "integer", "minimum": 3, "maximum": 17}, [3, 9, 17]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 1.5}, [0.25, 1, 1.5]),
    ({"type": "integer", "multipleOf": 7}, [0, 14, 49]),
    ({"type": "string", "maxLength": 3}, ["", "abc", "😀é日"]),
    ({"type": "string", "pattern": "^[a-z]+-[0-9]{2}$"}, ["ab-12"]),
    ({"type": "string", "format": "date"}, ["2026-11-21"]),
    ({"enum": ["red", "😀", 12, None, {"a": [1, 2]}]}, ["red", "😀", 12, None, {"a": [1, 2]}]),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}, [[True]]),
    (
        {
            "properties": {
                "shape": {"enum": ["circle", "square"]},
                "count": {"type": "integer", "minimum": 1, "maximum": 5},
                "where": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 8}]},
            },
            "required": ["shape", "count"],
            "additionalProperties": False,
        },
        [{"shape": "circle", "count": 1}, {"shape": "square", "count": 5, "where": None}],
    ),
    (
        {
            "allOf": [
                {"properties": {"a": {"type": "integer", "minimum": 2}}, "required": ["a"]},
                {"properties": {"a": {"maximum": 4}}, "type": "object"},
            ],
            "type": "object",
            "properties": {"a": True},
            "additionalProperties": {"type": "boolean"},
        },
        [{"a": 3}, {"a": 2, "b": True}],
    ),
    (
        {
            "oneOf": [
                {"properties": {"kind": {"const": "a"}}, "required": ["kind"], "type": "object"},
                {"properties": {"kind": {"const": "b"}}, "required": ["kind"], "type": "object"},
            ]
        },
        [{"kind": "a"}, {"kind": "b", "more": [1.5]}],
    ),
    (TREE, [{"value": 1}, {"value": -2, "children": [{"value": 3, "children": []}]}]),
]


def is_accepted(
    compiler: GrammarCompiler, tokenizer: Tokenizer, spec: GrammarSpec, text: str
) -> bool:
    """Every token allowed by the mask before it, and the end allowed behind the last."""
    matcher = compiler.compile(spec).matcher()
    mask = BatchMask(1, 1003)
    for token_id in tokenizer.encode(text).ids:
        assert mask.fill({0: matcher}) == {}
        if not mask.words.view(np.uint32)[0, token_id // 32] >> (token_id % 32) & 1:
            return False
        matcher.consume([token_id])
    return matcher.is_accepting


def walk(
    compiler: GrammarCompiler, tokenizer: Tokenizer, spec: GrammarSpec, seed: int
) -> list[int] | None:
    """Random allowed tokens up to an end; None if there is none within 400."""
    chance = random.Random(seed)
    closers = set(tokenizer.encode('"').ids + tokenizer.encode("]").ids + tokenizer.encode("}").ids)
    matcher = compiler.compile(spec).matcher()
    mask = BatchMask(1, 1003)
    token_ids: list[int] = []
    while len(token_ids) < 400:
        if matcher.is_stopped or (matcher.is_accepting and chance.random() < 0.3):
            return token_ids
        assert mask.fill({0: matcher}) == {}
        bits = np.unpackbits(mask.words[0].view(np.uint8), bitorder="little")
        text_ids = [i for i in np.flatnonzero(bits).tolist() if i >= NUM_SPECIAL_TOKENS]
        # A uniform choice would hardly ever end a string among hundreds of tokens.
        ends = [i for i in text_ids if i in closers]
        token_ids.append(chance.choice(ends if ends and chance.random() < 0.2 else text_ids))
        matcher.consume(token_ids[-1:])
    return None


@pytest.mark.parametrize(("schema", "instances"), SCHEMAS)
def test_valid_instances_are_accepted(
    compiler: GrammarCompiler, tokenizer: Tokenizer, schema: Schema, instances: list[object]
) -> None:
    spec = GrammarSpec("json", json.dumps(schema))
    for instance in instances:
        jsonschema.validate(instance, schema)
        for text in (
            json.dumps(instance, ensure_ascii=False),
            json.dumps(instance, ensure_ascii=False, separators=(",", ":")),
            json.dumps(instance, ensure_ascii=False, indent=2),
        ):
            assert is_accepted(compiler, tokenizer, spec, text), text


@pytest.mark.parametrize("schema", [schema for schema, _ in SCHEMAS])
def test_every_finished_random_answer_is_valid(
    compiler: GrammarCompiler, tokenizer: Tokenizer, schema: Schema
) -> None:
    judge = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    spec = GrammarSpec("json", json.dumps(schema))
    answers = [walk(compiler, tokenizer, spec, seed) for seed in range(20)]
    finished = [answer for answer in answers if answer is not None]
    assert len(finished) >= 10
    for answer in finished:
        judge.validate(json.loads(tokenizer.decode(answer, skip_special_tokens=False)))


@pytest.mark.parametrize(
    ("regex", "right", "wrong"),
    [
        (r"\d{3}(-\d{4})?", ["555", "555-1234"], ["55", "555-", "٣٣٣"]),
        (r"[0-9]+(\.[0-9]+)?", ["1", "1.5"], ["1."]),
        ("(red|green|blue)(, (red|green|blue))*", ["red", "red, green"], ["red,"]),
        ("a|a b c", ["a", "a b c"], ["a b"]),
        ("^abc$", ["abc"], ["ab", "abcd"]),
        ("(?i)yes", ["yes", "YeS"], ["ye"]),
        ("(?P<x>a)b", ["ab"], ["a"]),
        (r"\p{Lu}+", ["ABÉ"], ["a"]),
        (".", ["x", "é", "😀"], ["\n", "xx"]),
        ("[^a]", ["b", "😀"], ["a"]),
        (r"\w+", ["word_1"], ["é"]),
        (r"a/b\/c", ["a/b/c"], ["a"]),
        ("a\nb", ["a\nb"], ["ab"]),
        ('"', ['"'], [""]),
        ("", [""], ["a"]),
    ],
)
def test_regexes_mean_what_tgi_users_rely_on(
    compiler: GrammarCompiler, tokenizer: Tokenizer, regex: str, right: list[str], wrong: list[str]
) -> None:
    spec = GrammarSpec("regex", regex)
    for text in right:
        assert is_accepted(compiler, tokenizer, spec, text), text
    for text in wrong:
        assert not is_accepted(compiler, tokenizer, spec, text), text


def test_finished_random_answers_to_a_regex_match_it(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    regex = r"[A-Z][a-z]{1,6}( \d{2,3}(\.\d)?)?"
    for seed in range(20):
        answer = walk(compiler, tokenizer, GrammarSpec("regex", regex), seed)
        assert answer is not None
        assert re.fullmatch(regex, tokenizer.decode(answer))
