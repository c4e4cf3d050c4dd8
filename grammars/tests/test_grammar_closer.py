"""A way to the end of an answer, from its beginning and from the middle."""

import json
from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.guard import reach
from inlay_grammars.hints import hints, shortest_match
from inlay_grammars.matcher import Matcher
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarSpec


@pytest.fixture(scope="module")
def finishing(compiler: GrammarCompiler) -> Finishing:
    return Finishing(compiler.tokens)


def spec(value: object) -> GrammarSpec:
    """JSON for a schema, else Lark if it has a rule, else a regex."""
    if isinstance(value, dict):
        return GrammarSpec("json", json.dumps(value))
    text = str(value)
    return GrammarSpec("lark" if text.startswith("start:") else "regex", text)


@pytest.mark.parametrize(
    ("grammar", "shortest"),
    [
        ({"type": "object"}, "{}"),
        ({"enum": ["turquoise", "red", "yellow"]}, '"red"'),
        ({"type": "integer", "minimum": 100}, None),
        ({"type": "integer", "multipleOf": 7, "minimum": 50}, None),
        ({"anyOf": [{"type": "string", "minLength": 30}, {"type": "null"}]}, "null"),
        ({"type": "string", "pattern": "foo"}, '"foo"'),
        ({"type": "string", "pattern": "^[a-z]+@[a-z]+[.]com$"}, '"a@a.com"'),
        ({"type": "string", "pattern": "^[一-龥]{3}$"}, None),
        ({"type": "array", "items": {"type": "string", "minLength": 3}, "minItems": 2}, None),
        (".*foo", "foo"),
        ("(a|b)*abb", "abb"),
        (r"\d{3}-\d{4}", None),
        ('start: "a" start "b" | "c"', "c"),
        ('start: e\ne: e "+" e | "(" e ")" | /[0-9]/', None),
        ("start: /(.|\\n)*/", ""),
    ],
    ids=str,
)
def test_first_plans(
    compiler: GrammarCompiler,
    finishing: Finishing,
    tokenizer: Tokenizer,
    grammar: object,
    shortest: str | None,
) -> None:
    compiled = compiler.compile(spec(grammar))
    plan = finishing.first_plan(compiled)
    assert plan is not None
    matcher = compiled.matcher()
    matcher.consume(plan)
    assert matcher.is_accepting
    if shortest is not None:
        assert len(plan) <= len(tokenizer.encode(shortest).ids)


def test_a_choice_of_two_nests_no_deeper_than_it_must(
    compiler: GrammarCompiler, finishing: Finishing
) -> None:
    """The first alternative holds the whole again, for ever."""
    leaf = {"type": "object", "properties": {"z": {"const": 1}}, "required": ["z"]}
    deeper = {"type": "array", "items": {"$ref": "#"}, "minItems": 1}
    schema = {"type": "object", "properties": {"b": {"anyOf": [deeper, leaf]}}, "required": ["b"]}
    plan = finishing.first_plan(compiler.compile(spec(schema)))
    assert plan is not None
    assert len(plan) < 20


def test_no_end_is_said_to_be_none(compiler: GrammarCompiler, finishing: Finishing) -> None:
    assert finishing.first_plan(compiler.compile(spec('start: "a" start'))) is None


@pytest.mark.parametrize(
    "text", ['{"a": "x', '{"a": "x", "b": [1', '{"a": "x", "b": [[', "{ ", '{"a": "\\']
)
def test_plans_from_the_middle(
    compiler: GrammarCompiler, finishing: Finishing, tokenizer: Tokenizer, text: str
) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "array"}},
        "required": ["a", "b"],
    }
    compiled = compiler.compile(spec(schema))
    plan = finishing.first_plan(compiled)
    assert plan is not None
    matcher = compiled.matcher()
    guard = finishing.guard(compiled, plan)
    for token_id in tokenizer.encode(text).ids:
        assert guard.take(matcher, token_id, 100) == token_id
    num_left = 12
    while num_left and not matcher.is_stopped:
        longer = _never_the_end(matcher, tokenizer)
        assert guard.take(matcher, longer, num_left) is not None
        num_left -= 1
    assert matcher.is_accepting


def _never_the_end(matcher: Matcher, tokenizer: Tokenizer) -> int:
    """An allowed token that brings the end no nearer."""
    for text in ("a", "[", "1", "\n", '"', ":", ",", "}", "]", "n", "b"):
        (token_id, *more) = tokenizer.encode(text).ids
        trial = matcher.copy()
        if not more and _can_consume(trial, [token_id]):
            return token_id
    raise AssertionError(f"nothing is allowed by {matcher!r}")


def _can_consume(matcher: Matcher, token_ids: Sequence[int]) -> bool:
    try:
        matcher.consume(token_ids)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("foo", "foo"),
        ("(a|bc)*abb", "abb"),
        (r"^\d{3}-\w+\s$", "000-a "),
        ("[^a-z]", "0"),
        ("[^a]b|ccc", "0b"),
        ("(?:[A-Z]{2}|x)?", ""),
        ("[一-龥]", "一"),
        (r"(a)\1", None),
        ("a(?=b)", None),
        ("(", None),
        ("x{2000}", None),
    ],
)
def test_shortest_matches(pattern: str, text: str | None) -> None:
    assert shortest_match(pattern) == text


def test_hints_are_found_in_schemas_within_lark() -> None:
    schema = '{"properties": {"a": {"pattern": "x\\"y"}, "n": {"multipleOf": 7, "minimum": 50}}}'
    found = hints(Source("lark", f'start: "f" %json {schema} "g"'))
    assert sorted(found) == ["56", 'x\\"y']
    assert sorted(hints(Source("json", schema))) == sorted(found)


def test_reach_grows_with_what_a_grammar_counts() -> None:
    assert reach(Source("regex", "a{3000}")) - reach(Source("regex", "a{3}")) >= 2997
