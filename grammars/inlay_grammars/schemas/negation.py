"""The opposite of a JSON schema, in keywords that every backend enforces, where there is one."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from inlay_grammars.regexes import literal
from inlay_grammars.schemas.tree import ASSERTIONS, Root, Schema, referred

TYPES = ("array", "boolean", "null", "number", "object", "string")
_KINDS: dict[str, type] = {
    "allOf": list,
    "anyOf": list,
    "enum": list,
    "properties": dict,
    "required": list,
}
MAX_TEXT = 200
"""Characters of a text that an opposite may exclude."""
MAX_DEPTH = 8
"""Of `$ref`s and keywords in each other; what is deeper has no opposite here."""


class NoOpposite(Exception):
    """It cannot be written with the keywords that are enforced."""


def opposite(schema: Schema, root: Root, depth: int = 0) -> Schema:
    """A schema whose instances are exactly those that `schema` refuses.

    Args:
        schema: of any draft from 6 on.
        root: the document that its `$ref`s point into.
        depth: how many opposites this one is part of.

    Raises:
        NoOpposite: it cannot be written.
    """
    if isinstance(schema, bool):
        return not schema
    if depth > MAX_DEPTH or not isinstance(schema, dict) or not _is_sound(schema):
        raise NoOpposite
    # An instance is refused if one of the keywords refuses it.
    return any_of(
        _opposite_of(schema, keyword, root, depth + 1)
        for keyword in schema
        if keyword in ASSERTIONS
    )


def any_of(schemas: Iterable[Schema]) -> Schema:
    """The union, without what adds nothing."""
    kept = [schema for schema in schemas if schema is not False]
    if any(schema is True for schema in kept) or not kept:
        return bool(kept)
    return kept[0] if len(kept) == 1 else {"anyOf": kept}


def other_types(*names: str) -> list[str]:
    """All types but these."""
    return [name for name in TYPES if name not in names]


def _is_sound(schema: dict[str, Any]) -> bool:
    """Whether the keywords that are looked into hold what they should; clients write anything."""
    return all(isinstance(schema.get(keyword, kind()), kind) for keyword, kind in _KINDS.items())


def _opposite_of(schema: dict[str, Any], keyword: str, root: Root, depth: int) -> Schema:
    value = schema[keyword]
    if keyword in _BOUNDS and type(value) in (int, float):
        return _BOUNDS[keyword](value)
    if keyword == "properties" and not schema.keys() & {
        "additionalProperties",
        "patternProperties",
    }:
        return any_of(_with(name, opposite(value[name], root, depth)) for name in value)
    if keyword == "required":
        return any_of({"type": "object", "properties": {name: False}} for name in value)
    if keyword == "type":
        return _opposite_of_type(value)
    if keyword in ("enum", "const"):
        return all_but(value if keyword == "enum" else [value])
    if keyword == "allOf":
        return any_of(opposite(part, root, depth) for part in value)
    if keyword == "anyOf":
        return {"allOf": [opposite(part, root, depth) for part in value]}
    if keyword == "not":
        return value if isinstance(value, (dict, bool)) else _none()
    target = referred(root, schema) if keyword == "$ref" else None
    return _none() if target is None else opposite(target, root, depth)


def _none() -> Schema:
    raise NoOpposite


def _with(name: str, schema: Schema) -> Schema:
    """An object that has this property, with such a value."""
    if schema is False:
        return False
    return {"type": "object", "properties": {name: schema}, "required": [name]}


def _opposite_of_type(value: object) -> Schema:
    names = value if isinstance(value, list) else [value]
    if "integer" in names and "number" not in names:
        raise NoOpposite  # numbers that are no integers
    return {"type": other_types(*names)} if other_types(*names) else False


def _bound(type_name: str, keyword: str, change: int) -> Callable[[Any], Schema]:
    """Instances of other types satisfy a bound, so those of this type alone can break it."""

    def broken(value: Any) -> Schema:
        if keyword.startswith("max") and change and value + change < 0:
            return False
        return {"type": type_name, keyword: value + change}

    return broken


_BOUNDS: dict[str, Callable[[Any], Schema]] = {
    "minimum": _bound("number", "exclusiveMaximum", 0),
    "maximum": _bound("number", "exclusiveMinimum", 0),
    "exclusiveMinimum": _bound("number", "maximum", 0),
    "exclusiveMaximum": _bound("number", "minimum", 0),
    "minLength": _bound("string", "maxLength", -1),
    "maxLength": _bound("string", "minLength", 1),
    "minItems": _bound("array", "maxItems", -1),
    "maxItems": _bound("array", "minItems", 1),
    "minProperties": _bound("object", "maxProperties", -1),
    "maxProperties": _bound("object", "minProperties", 1),
}


def all_but(values: Sequence[Any]) -> Schema:
    """Every instance but these, which must be plain values.

    Raises:
        NoOpposite: one of them is an array, an object or a long text.
    """
    if any(isinstance(value, (list, dict)) for value in values):
        raise NoOpposite
    if any(isinstance(value, str) and len(value) > MAX_TEXT for value in values):
        raise NoOpposite
    texts = [value for value in values if isinstance(value, str)]
    numbers = sorted({value for value in values if type(value) in (int, float)})
    truths = [value for value in (True, False) if not any(value is other for other in values)]
    types = ["array", "object"] + ([] if None in values else ["null"])
    types += ([] if texts else ["string"]) + ([] if numbers else ["number"])
    return any_of(
        [
            {"type": types},
            {"enum": truths} if truths else False,
            {"type": "string", "pattern": text_pattern(texts)} if texts else False,
            *_between(numbers),
        ]
    )


def _between(numbers: Sequence[float]) -> list[Schema]:
    """The gaps in front of, between and behind these numbers."""
    if not numbers:
        return []
    gaps: list[Schema] = [
        {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high}
        for low, high in zip(numbers, numbers[1:], strict=False)
    ]
    return [
        {"type": "number", "exclusiveMaximum": numbers[0]},
        *gaps,
        {"type": "number", "exclusiveMinimum": numbers[-1]},
    ]


def text_pattern(texts: Sequence[str]) -> str:
    """A regex for every text but these: it leaves their tree at some character."""
    tree: dict[str, Any] = {}
    for text in texts:
        node = tree
        for character in text:
            node = node.setdefault(character, {})
        node[""] = {}
    return f"^{_leaving(tree)}$"


def _leaving(node: dict[str, Any]) -> str:
    branches = {character: child for character, child in node.items() if character}
    ways = [] if "" in node else [""]
    ways += [literal(character) + _leaving(child) for character, child in branches.items()]
    others = "".join(literal(character) for character in branches)
    ways.append(rf"[^{others}][\s\S]*" if others else r"[\s\S]+")
    return f"(?:{'|'.join(ways)})"
