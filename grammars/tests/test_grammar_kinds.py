"""Choices, context-free grammars, whitespace, and which backend compiles what."""

import json

import pytest
from random_walks import RandomWalks
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.options import BackendName, Whitespace, backend_choice, whitespace_named
from inlay_grammars.reading import source_of
from inlay_grammars.regexes import is_plain_regex
from inlay_grammars.spec import GrammarError, GrammarKind, GrammarSpec, SpecLimits

LARK = """
start: item (", " item)*
item: /[a-z]+/ | "(" start ")"
"""
GBNF = """
root  ::= "yes" | "no " reason
reason ::= [a-z]{2,4}
"""


@pytest.fixture
def walks(tokenizer: Tokenizer, vocab_size: int, eos_token_ids: list[int]) -> RandomWalks:
    return RandomWalks(tokenizer, vocab_size, eos_token_ids)


@pytest.mark.parametrize(
    ("kind", "value", "right", "wrong"),
    [
        ("choice", '["no", "not", "note"]', ["no", "not", "note"], ["n", "notes", ""]),
        ("choice", '["", "a"]', ["", "a"], ["aa"]),
        ("choice", '["a", "a"]', ["a"], ["aa"]),
        (
            "choice",
            json.dumps(["a.b*", "[x]", "\\d", "/", "é 😀", "two\nlines", '"q"', "#&~-"]),
            ["a.b*", "[x]", "\\d", "/", "é 😀", "two\nlines", '"q"', "#&~-"],
            ["axb", "x", "1"],
        ),
        ("grammar", LARK, ["a, b", "(a, (b)), c"], ["a,b", "(a"]),
        ("grammar", GBNF, ["yes", "no abc"], ["no a", "no abcde", "no"]),
    ],
)
def test_answers(
    compiler: GrammarCompiler,
    walks: RandomWalks,
    kind: GrammarKind,
    value: str,
    right: list[str],
    wrong: list[str],
) -> None:
    grammar = compiler.compile(GrammarSpec(kind, value))
    for text, is_right in [(t, True) for t in right] + [(t, False) for t in wrong]:
        token_ids = walks.tokenizer.encode(text).ids
        assert walks.accepts(grammar.matcher(), token_ids) is is_right, text


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("choice", "[]", "at least one string"),
        ("choice", "{}", "must be a list of strings"),
        ("choice", '["a", 1]', "must be a list of strings"),
        ("choice", "[", "must be a list of strings"),
        ("choice", "[" * 100_000, "must be a list of strings"),
        ("choice", '["\\ud800"]', "lone surrogate"),
        ("choice", json.dumps(["a"] * 10_001), "has 10001 strings; the limit is 10000"),
        ("choice", json.dumps(["a" * 200_000]), "has 200004 bytes; the limit is 131072"),
        ("grammar", "start: x", "cannot be compiled"),
        ("grammar", "root ::= missing", "cannot be compiled|not GBNF"),
        ("grammar", "nothing of either", "not GBNF"),
        ("grammar", "a: b\n" * 1001, "has 1001 rules; the limit is 1000"),
        ("grammar", "x" * 70_000, "has 70000 bytes; the limit is 65536"),
    ],
)
def test_refusals(compiler: GrammarCompiler, kind: GrammarKind, value: str, words: str) -> None:
    with pytest.raises(GrammarError, match=words):
        compiler.compile(GrammarSpec(kind, value))


BACKENDS: list[BackendName] = ["llguidance", "outlines_core", "xgrammar"]
TIGHT, PYTHON, LOOSE = '{"a":[1,2],"b":{}}', '{"a": [1, 2], "b": {}}', '{ "a" :\n[1,\t2],"b":{} }'


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("whitespace", "right", "wrong"),
    [
        ("compact", [TIGHT], [PYTHON, LOOSE]),
        ("pretty", [PYTHON], [TIGHT, LOOSE]),
        ("flexible", [TIGHT, PYTHON, LOOSE], [TIGHT.replace(":", ":" + " " * 9)]),
    ],
)
def test_whitespace_of_every_backend(
    compiler: GrammarCompiler,
    walks: RandomWalks,
    backend: BackendName,
    whitespace: Whitespace,
    right: list[str],
    wrong: list[str],
) -> None:
    if backend == "xgrammar":
        pytest.importorskip("xgrammar", reason="the extra inlay[xgrammar] is not installed")
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "integer"}},
            "b": {"type": "object", "properties": {}, "additionalProperties": False},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    spec = GrammarSpec("json", json.dumps(schema), backend=backend, whitespace=whitespace)
    grammar = compiler.compile(spec)
    is_possible = backend != "outlines_core" or whitespace != "pretty"
    assert grammar.backend == (backend if is_possible else "llguidance")
    for text, is_right in [(t, True) for t in right] + [(t, False) for t in wrong]:
        token_ids = walks.tokenizer.encode(text).ids
        assert walks.accepts(grammar.matcher(), token_ids) is is_right, text


NOT_PLAIN = [
    {"type": "integer", "multipleOf": 3},
    {"type": "number", "minimum": 3},
    {"type": "string", "pattern": "a"},
    {"type": "string", "format": "date"},
    {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "maxItems": 1, "not": {}},
    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    {"allOf": [{"type": "integer"}]},
    {"minimum": 3},
    {"type": ["string", "null"], "maxLength": 3},
    {"type": "object", "properties": {"a": {"not": {"type": "null"}}}},
    {"type": "object", "properties": {"a": {}}, "required": ["b"]},
    {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
    {"type": "object", "patternProperties": {"^a": {}}},
    {"type": "object", "properties": {"a": {}}, "minProperties": 1},
    {"enum": [[1], "a"]},
    {"enum": ["a", 1], "type": "string"},
    {"const": "a", "enum": ["a"]},
    {"anyOf": [{"type": "integer"}], "type": "number"},
    {"$ref": "#/$defs/a", "type": "integer", "$defs": {"a": {"type": "number"}}},
    {"type": "array", "items": [{"type": "integer"}]},
    {"type": "array", "prefixItems": [{"type": "integer"}]},
]


@pytest.mark.parametrize("backend", ["outlines_core", "xgrammar"])
@pytest.mark.parametrize("schema", NOT_PLAIN)
def test_what_a_backend_would_ignore_goes_to_llguidance(
    compiler: GrammarCompiler, backend: BackendName, schema: dict[str, object]
) -> None:
    spec = GrammarSpec("json", json.dumps(schema), backend=backend)
    try:
        grammar = compiler.compile(spec)
    except GrammarError:
        return  # llguidance's own refusal
    assert grammar.backend == "llguidance"


def test_what_a_backend_refuses_goes_to_llguidance(compiler: GrammarCompiler) -> None:
    anchored = compiler.compile(GrammarSpec("regex", "^abc$", backend="outlines_core"))
    assert anchored.backend == "llguidance"
    assert compiler.compile(GrammarSpec("regex", "abc", backend="auto")).backend == "llguidance"
    lark = GrammarSpec("grammar", LARK, backend="outlines_core")
    assert compiler.compile(lark).backend == "llguidance"
    with pytest.raises(GrammarError, match="unclosed group"):
        compiler.compile(GrammarSpec("regex", "(", backend="outlines_core"))


def test_a_regex_cannot_break_out_of_what_is_put_around_it(compiler: GrammarCompiler) -> None:
    for regex in ("a)|(b", "a)(", "(?x) a # b"):
        try:
            grammar = compiler.compile(GrammarSpec("regex", regex, backend="outlines_core"))
        except GrammarError:
            continue
        assert grammar.backend == "llguidance"


@pytest.mark.parametrize(
    ("regex", "is_plain"),
    [
        (r"\d{3}(-\d{4})?", True),
        ("(?:a|b)*[^x-z]+", True),
        (r"a\.b\/", True),
        ("a.b", False),
        ("(?i)a", False),
        ("(?=a)a", False),
        (r"\w", False),
        (r"\p{L}", False),
        ("^a$", False),
        ("[[:alpha:]]", False),
        ("[a&&b]", False),
        (r"a\zb", False),
    ],
)
def test_plain_regexes_mean_the_same_to_all(regex: str, is_plain: bool) -> None:
    assert is_plain_regex(regex) is is_plain


def test_gbnf_is_converted_once() -> None:
    source = source_of(GrammarSpec("grammar", GBNF), SpecLimits())
    assert source.language == "lark"
    again = source_of(GrammarSpec("lark", source.text), SpecLimits())
    assert again.text == source.text


def test_names_of_options() -> None:
    assert (backend_choice(""), backend_choice("xgrammar")) == ("auto", "xgrammar")
    assert (whitespace_named(""), whitespace_named("pretty")) == ("flexible", "pretty")
    with pytest.raises(ValueError, match=r"must be one of auto, .* Given: outlines"):
        backend_choice("outlines")
