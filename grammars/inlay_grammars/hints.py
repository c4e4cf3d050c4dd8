"""Short texts that a grammar asks for in so many words, found in its source."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from inlay_grammars.source import Source

_MAX_HINTS = 32
_MAX_LENGTH = 4096
_MAX_REPEATS = 1024
_PREFERRED = [ord(char) for char in "a0A-_. @/:"] + list(range(0x21, 0x7F))
_parser: Any = re._parser  # type: ignore[attr-defined]
_CATEGORIES = {
    f"CATEGORY_{'NOT_' if letter.isupper() else ''}{name}": f"\\{letter}"
    for name, letters in (("DIGIT", "dD"), ("WORD", "wW"), ("SPACE", "sS"))
    for letter in letters
}


def hints(source: Source) -> Sequence[str]:
    """Texts that satisfy patterns of a grammar, and multiples that its numbers must be."""
    found: Iterator[str | None]
    if source.language == "regex":
        found = iter([shortest_match(source.text)])
    else:
        found = (text for schema in _schemas(source) for text in _of_schema(schema))
    return list(dict.fromkeys(filter(None, islice(found, _MAX_HINTS))))


def _schemas(source: Source) -> Iterator[Any]:
    """The JSON schemas in a grammar: itself, or those behind `%json` in Lark."""
    parts = [source.text] if source.language == "json" else source.text.split("%json")[1:]
    for part in parts:
        try:
            yield json.JSONDecoder().raw_decode(part.lstrip())[0]
        except (ValueError, RecursionError):
            continue


def _of_schema(schema: Any) -> Iterator[str]:
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield from _of_node(node)
        children = node.values() if isinstance(node, dict) else node
        pending += [child for child in children if isinstance(child, (dict, list))]


def _of_node(node: dict[str, Any]) -> Iterator[str]:
    if isinstance(pattern := node.get("pattern"), str):
        text = shortest_match(pattern)
        yield json.dumps(text, ensure_ascii=False)[1:-1] if text else ""
    step, minimum = node.get("multipleOf"), node.get("minimum", 0)
    if isinstance(step, (int, float)) and step > 0 and isinstance(minimum, (int, float)):
        yield f"{step * max(1, math.ceil(minimum / step)):.12g}"


def shortest_match(pattern: str) -> str | None:
    """A short text that matches `pattern`; None where that is not easily told."""
    try:
        return _text(_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError, _Unknown):
        return None


class _Unknown(Exception):
    """A part of a regex that is not followed."""


def _text(parts: Any) -> str:
    text = ""
    for opcode, argument in parts:
        text += _part(opcode, argument)
        if len(text) > _MAX_LENGTH:
            raise _Unknown
    return text


def _part(opcode: Any, argument: Any) -> str:
    match str(opcode):
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return chr(next(code for code in _PREFERRED if code != argument))
        case "ANY":
            return "a"
        case "IN":
            return _character(argument)
        case "BRANCH":
            return min((_text(branch) for branch in argument[1]), key=len)
        case "SUBPATTERN":
            return _text(argument[3])
        case "ATOMIC_GROUP":
            return _text(argument)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _repeated(*argument)
        case "AT":
            return ""
    raise _Unknown


def _repeated(least: int, _most: int, part: Any) -> str:
    if least > _MAX_REPEATS:
        raise _Unknown
    return _text(part) * least


def _character(members: Any) -> str:
    """One of a set, an ASCII one if there is."""
    tests = [(str(name), argument) for name, argument in members]
    others = [argument[0] for name, argument in tests if name == "RANGE"]
    others += [argument for name, argument in tests if name == "LITERAL"]
    is_negated = tests[0][0] == "NEGATE"
    for code in [*_PREFERRED, *others]:
        if any(_holds(name, argument, code) for name, argument in tests) is not is_negated:
            return chr(code)
    raise _Unknown


def _holds(name: str, argument: Any, code: int) -> bool:
    match name:
        case "LITERAL":
            return bool(code == argument)
        case "RANGE":
            return bool(argument[0] <= code <= argument[1])
        case "CATEGORY":
            pattern = _CATEGORIES.get(str(argument))
            return pattern is not None and re.fullmatch(pattern, chr(code), re.ASCII) is not None
    return False
