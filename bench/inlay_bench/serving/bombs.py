"""Grammars that are hard to compile, each of them new, as one client may send to hurt others."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from random import Random

Parameters = dict[str, object]


def bombs() -> Iterator[tuple[str, Parameters]]:
    """Names and parameters of requests, without end; no two grammars are equal."""
    for number in count():
        random = Random(f"bomb {number}")
        for name, make in BOMBS.items():
            yield name, {"grammar": make(random)}


def harmless() -> Iterator[tuple[str, Parameters]]:
    """As many new grammars that are easy to compile."""
    for number in count():
        schema = {"type": "string", "maxLength": 40, "minLength": 1, "title": f"number {number}"}
        yield "harmless", {"grammar": {"type": "json", "value": schema}}


def word(random: Random, length: int = 8) -> str:
    """Random small letters."""
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=length))


def large_enum(random: Random) -> Parameters:
    """As many alternatives as a schema may have."""
    return {"type": "json", "value": {"enum": [word(random) for _ in range(9000)]}}


def many_properties(random: Random) -> Parameters:
    """Properties any of which may be left out, up to the largest schema."""
    properties = {word(random): {"type": "string", "maxLength": 99} for _ in range(2200)}
    return {"type": "json", "value": {"type": "object", "properties": properties}}


def long_chain(random: Random) -> Parameters:
    """Definitions that each need the next one; twice as many would end the compiler."""
    names = [word(random) for _ in range(480)]
    definitions: dict[str, object] = {names[-1]: {"type": "null"}}
    for name, next_name in zip(names[:-1], names[1:], strict=True):
        definitions[name] = {"properties": {"a": {"$ref": f"#/$defs/{next_name}"}}}
    return {
        "type": "json",
        "value": {
            "type": "object",
            "properties": {"a": {"$ref": f"#/$defs/{names[0]}"}},
            "$defs": definitions,
        },
    }


def many_alternatives(random: Random) -> Parameters:
    """Objects that differ behind a common beginning."""
    branches = [
        {"type": "object", "properties": {"kind": {"type": "string"}, word(random): {}}}
        for _ in range(900)
    ]
    return {"type": "json", "value": {"anyOf": branches}}


def crossed_patterns(random: Random) -> Parameters:
    """Patterns that hold at once, each with many states."""
    patterns = [{"pattern": f"[{word(random, 2)}].{{{n}}}[a-m]"} for n in range(12, 20)]
    return {"type": "json", "value": {"type": "string", "maxLength": 200, "allOf": patterns}}


def endless_backtracking(random: Random) -> Parameters:
    """2^24 states for who writes them all down."""
    letter = word(random, 1)
    return {"type": "regex", "value": f"({letter}|[a-y]{{1,3}})*{letter}([a-z]|zz){{24}}"}


def nested_repeats(random: Random) -> Parameters:
    """A million repetitions in a few characters."""
    return {"type": "regex", "value": f"(({word(random, 3)}){{1,1000}}){{1,1000}}"}


def many_words(random: Random) -> Parameters:
    """A long choice between words."""
    return {"type": "regex", "value": "|".join(word(random) for _ in range(1700))}


BOMBS: dict[str, Callable[[Random], Parameters]] = {
    "large enum": large_enum,
    "many properties": many_properties,
    "long chain": long_chain,
    "many alternatives": many_alternatives,
    "crossed patterns": crossed_patterns,
    "endless backtracking": endless_backtracking,
    "nested repeats": nested_repeats,
    "many words": many_words,
}


def num_bytes(parameters: Parameters) -> int:
    """Of the request that carries it."""
    return len(json.dumps(parameters))
