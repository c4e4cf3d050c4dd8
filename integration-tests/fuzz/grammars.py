"""Schemas and regexes, given to the pool that compiles them on trial."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from fuzz.json_mutation import damage_json
from fuzz.mutation import damage
from fuzz.target import Target, Try, check_words
from inlay_grammars.limits import CompileLimits
from inlay_grammars.pool import CompilePool
from inlay_grammars.spec import GrammarError, GrammarSpec
from inlay_router.links.scripted_shard import scripted_facts

_REGEX = (
    *(rb"(", rb")", rb"[", rb"]", rb"{3}", rb"{1,1000}", rb"*", rb"+", rb"?", rb"|", rb"^", rb"$"),
    *(
        rb"\d",
        rb"\w",
        rb"\b",
        rb"\1",
        rb"(?:",
        rb"(?=",
        rb"(?i)",
        rb"[^a]",
        rb"\p{L}",
        rb"\x{10ffff}",
    ),
    *(rb"\0", b"\0", b"\xf0\x9f\x99\x82", rb"[a-z]{0,9999}", rb"(a*)*"),
)


@asynccontextmanager
async def _open() -> AsyncIterator[Try]:
    facts = scripted_facts()
    pool = CompilePool(
        facts.tokenizer_json,
        facts.vocab_size,
        facts.eos_token_ids,
        limits=CompileLimits(seconds=2.0),
    )
    await pool.start()

    async def attempt(data: bytes) -> str:
        kind, _, value = data.partition(b"\n")
        text = value.decode("utf-8", "surrogateescape")
        try:
            spec = GrammarSpec(kind="json" if kind == b"json" else "regex", value=text)
            await pool.check(spec)
        except GrammarError as error:
            return kind.decode("latin-1")[:5] + check_words(str(error), text)
        return "compiled"

    try:
        yield attempt
    finally:
        await pool.stop()


def _mutate(data: bytes, other: bytes, chance: Random) -> bytes:
    kind, _, value = data.partition(b"\n")
    other_value = other.partition(b"\n")[2]
    if kind == b"json":
        return b"json\n" + damage_json(value, other_value, chance)
    return b"regex\n" + damage(value, other_value, chance, _REGEX)[:3000]


def _seeds() -> list[bytes]:
    schemas = [
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}},
        {"type": "array", "items": {"anyOf": [{"type": "null"}, {"const": "x"}]}, "maxItems": 3},
        {"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}},
        {"type": "string", "pattern": "^[a-z]{2,5}$", "maxLength": 9},
        {"type": "string", "format": "date-time"},
        {"oneOf": [{"type": "number", "multipleOf": 0.5}, {"enum": [None, True, "a", 1.5]}]},
        {
            "type": "object",
            "patternProperties": {"^x": {"type": "string"}},
            "additionalProperties": False,
            "required": ["x1"],
            "minProperties": 1,
        },
        {"allOf": [{"type": "object", "properties": {"b": {}}}, {"required": ["b"]}], "not": {}},
    ]
    regexes = ["[ab]{3}", r"\d{4}-\d{2}", "(yes|no)( maybe)?", "[^\n]*", r"(?i)x\b", "é+🙂"]
    made = [f"json\n{json.dumps(schema)}" for schema in schemas]
    return [text.encode() for text in (*made, *(f"regex\n{regex}" for regex in regexes))]


GRAMMARS = Target(name="grammars", seeds=_seeds, mutate=_mutate, open=_open, weight=1, seconds=20.0)
