"""What compiles, what is refused, and that a refusal is never silent."""

import json

import pytest
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.schema import engine_schema
from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {"not": {"pattern": "x"}}}}, "`not` at `/properties/a/not`"),
        ({"type": "array", "uniqueItems": True}, "`uniqueItems` at `/uniqueItems`"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, r"minimum \(5\) is greater"),
        ({"properties": {"a": False}, "required": ["a"]}, "'a' is unsatisfiable"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"type": "string", "pattern": "a(?=b)"}, "look-around"),
        ({"type": "string", "format": "uri-template"}, "`format` at `/format`"),
        ({"$ref": "#"}, "no answer is finite"),
        ({"$ref": "http://127.0.0.1/schema"}, "does not fetch"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"type": "no-such-type"}, "no-such-type"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, "`oneOf` at `/oneOf`.*use `anyOf`"),
        ({"const": "\ud800"}, "cannot be compiled"),
    ],
)
def test_what_cannot_be_enforced_is_refused(
    compiler: GrammarCompiler, schema: dict[str, object], words: str
) -> None:
    spec = GrammarSpec("json", json.dumps(schema))
    for _ in range(2):  # compiled, then from the cache of refusals
        with pytest.raises(GrammarError, match=words):
            compiler.compile(spec)


@pytest.mark.parametrize(
    ("regex", "words"),
    [
        ("(", "unclosed group"),
        (r"\bword", "lookarounds not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("(?=a)b", "look-around"),
        (r"[^\s\S]", "allows no answer at all"),
        ("(" * 3000 + "a" + ")" * 3000, "cannot be compiled"),
    ],
)
def test_a_regex_that_cannot_be_followed_is_refused(
    compiler: GrammarCompiler, regex: str, words: str
) -> None:
    with pytest.raises(GrammarError, match=words) as caught:
        compiler.compile(GrammarSpec("regex", regex))
    assert len(str(caught.value)) < 600
    assert "start:" not in str(caught.value)


def test_a_chain_of_a_thousand_refs_is_refused_by_the_limit(compiler: GrammarCompiler) -> None:
    definitions = {f"d{i}": {"items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(1000)}
    schema = {"$ref": "#/$defs/d0", "$defs": definitions | {"d1000": {}}}
    with pytest.raises(GrammarError, match="1001 `\\$ref` targets; the limit is 500"):
        compiler.compile(GrammarSpec("json", json.dumps(schema)))


def test_the_deepest_schema_within_the_limit_compiles(compiler: GrammarCompiler) -> None:
    def nested(num_objects: int) -> GrammarSpec:
        schema: dict[str, object] = {"type": "integer"}
        for _ in range(num_objects):
            schema = {"properties": {"a": schema}, "type": "object"}
        return GrammarSpec("json", json.dumps(schema))

    compiler.compile(nested(49))
    with pytest.raises(GrammarError, match="nested more than 100 levels"):
        compiler.compile(nested(50))


def test_grammars_are_compiled_once(compiler: GrammarCompiler) -> None:
    spec = GrammarSpec("regex", "once")
    assert compiler.compile(spec) is compiler.compile(spec)


def test_the_cache_of_grammars_is_bounded_in_bytes(tokenizer: Tokenizer) -> None:
    one = GrammarCompiler(tokenizer.to_str(), 1003, [0]).compile(GrammarSpec("regex", "a"))
    room = 2 * one.template.num_bytes + 100
    compiler = GrammarCompiler(tokenizer.to_str(), 1003, [0], max_cached_bytes=room)
    specs = [GrammarSpec("regex", text) for text in ("a", "b", "c")]
    first, second, _ = [compiler.compile(spec) for spec in specs]
    assert compiler.compile(specs[1]) is second
    assert compiler.compile(specs[0]) is not first


def test_options_of_the_engine_are_not_the_clients_to_set(compiler: GrammarCompiler) -> None:
    schema = {"x-guidance": {"lenient": True}, "uniqueItems": True}
    with pytest.raises(GrammarError, match="uniqueItems"):
        compiler.compile(GrammarSpec("json", json.dumps(schema)))


def test_properties_alone_mean_an_object() -> None:
    given = '{"properties": {"b": {}, "a": {}}}'
    schema = json.loads(engine_schema(given, SpecLimits()))
    assert schema["type"] == "object"
    assert list(schema["properties"]) == ["b", "a"]
    nullable = engine_schema('{"properties": {}, "type": ["object", "null"]}', SpecLimits())
    assert json.loads(nullable)["type"] == ["object", "null"]
