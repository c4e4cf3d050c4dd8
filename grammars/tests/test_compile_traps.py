"""Grammars that hang, crash or bloat compilers elsewhere: within the limits here, or refused."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tokenizers import Tokenizer

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.limits import CompileLimits
from inlay_grammars.mask import BatchMask
from inlay_grammars.options import BackendChoice
from inlay_grammars.pool import CompilePool
from inlay_grammars.spec import GrammarError, GrammarKind, GrammarSpec
from inlay_grammars.verdict import Verdict

AMBIGUOUS = 'start: s\ns: s s s | s s | "a" | ""\n'
NESTED_REPEATS = "((((a{1,30}){1,30}){1,30}){1,30})"


class Pool:
    """A started pool and its loop."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._runner = asyncio.Runner()
        self._pool = CompilePool(
            tokenizer.to_str(),
            1003,
            [0, 1],
            limits=CompileLimits(seconds=2),
            backend="outlines_core",
        )
        self._runner.run(self._pool.start())

    def check(self, kind: GrammarKind, value: Any, backend: BackendChoice = "auto") -> Verdict:
        text = value if isinstance(value, str) else json.dumps(value)
        return self._runner.run(self._pool.check(GrammarSpec(kind, text, backend=backend)))

    def stop(self) -> None:
        self._runner.run(self._pool.stop())
        self._runner.close()


@pytest.fixture(scope="module")
def pool(tokenizer: Tokenizer) -> Iterator[Pool]:
    pool = Pool(tokenizer)
    yield pool
    pool.stop()


def nested(num_levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(num_levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def chain(num_links: int) -> dict[str, Any]:
    links = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(num_links)}
    return {"$ref": "#/$defs/d0", "$defs": links | {f"d{num_links}": {"type": "null"}}}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json", {"type": "string", "maxLength": 100_000}),
        ("json", {"type": "string", "minLength": 50_000}),
        (
            "json",
            {"properties": {f"p{i}": {"type": "string", "maxLength": 500} for i in range(10)}},
        ),
        ("json", {"properties": {f"p{i}": {"type": "integer"} for i in range(500)}}),
        ("json", {"type": "array", "items": {"type": "integer"}, "maxItems": 1000}),
        ("json", {"enum": [f"w{i}" for i in range(9_999)]}),
        ("json", {"type": "object"}),
        ("json", chain(400)),
        ("json", {"type": "string", "pattern": "(a|b)*a(a|b){20}"}),
        ("regex", r"[\s\S]{1,10000}"),
        ("regex", "|".join(f"w{i}" for i in range(2_000))),
        ("choice", [f"word {i}" for i in range(9_999)]),
    ],
)
def test_large_ones_that_are_harmless(pool: Pool, kind: GrammarKind, value: Any) -> None:
    assert pool.check(kind, value).backend == "llguidance"


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("json", nested(200), "nested more than 100 levels"),
        ("json", {"enum": [f"w{i}" for i in range(12_000)]}, "12000 alternatives; the limit is"),
        ("json", {"enum": ["w" * 20 + str(i) for i in range(100_000)]}, "bytes; the limit is"),
        ("json", chain(1000), "`$ref` targets; the limit is 500"),
        ("json", {"$ref": "https://example.org/schema.json"}, "fetch"),
        ("grammar", "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(5000)), "rules"),
        (
            "lark",
            "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(5000)),
            "stack|compile",
        ),
    ],
)
def test_what_would_hurt_is_refused(pool: Pool, kind: GrammarKind, value: Any, words: str) -> None:
    with pytest.raises(GrammarError) as caught:
        pool.check(kind, value)
    assert words.partition("|")[0] in str(caught.value) or words.partition("|")[2] in str(
        caught.value
    )
    assert pool.check("regex", "after").error is None


def test_backends_hand_over_what_takes_them_too_much(pool: Pool) -> None:
    """36 bytes that cost Outlines' own automaton minutes are quick; 33 that explode are not."""
    string = {"type": "string", "maxLength": 100}
    assert pool.check("json", string, "outlines_core").backend == "outlines_core"
    with pytest.raises(GrammarError, match="too many|too complex|limit"):
        pool.check("regex", NESTED_REPEATS, "outlines_core")


def test_an_ambiguous_grammar_ends_with_an_error_before_it_stalls_its_batch(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(GrammarSpec("grammar", AMBIGUOUS)).matcher()
    neighbour = compiler.compile(GrammarSpec("regex", "[0-9]*")).matcher()
    mask = BatchMask(2, 1003, num_threads=1)
    with pytest.raises(GrammarError, match="items"):
        for _ in range(300):
            errors = mask.fill({0: matcher, 1: neighbour})
            if errors:
                raise GrammarError(errors[0])
            matcher.consume(tokenizer.encode("a").ids)
    assert mask.fill({1: neighbour}) == {}
