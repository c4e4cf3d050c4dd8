"""Whether no value can satisfy two schemas, as far as that is plain to see."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from inlay_grammars.schemas.tree import Root, referred

MAX_DEPTH = 6
"""Of `$ref`, `allOf`, alternatives and properties that are looked through."""
MAX_LOOKS = 20_000
"""Schemas that are looked at for one document: some 20 ms."""
_TYPE_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
_ALL_TYPES = frozenset((*_TYPE_NAMES.values(), "number"))


class Disjointness:
    """Of the schemas in one document. Says no once it has looked at too many.

    Reads only what every draft from 4 on understands alike: what stands beside a `$ref` is not
    looked at, as older drafts ignore it.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._num_left = MAX_LOOKS

    def holds(self, one: object, other: object, depth: int = MAX_DEPTH) -> bool:
        """True only if it is certain: by types, by values, or by a property that tells."""
        if one is False or other is False:
            return True
        parts, others = list(self._parts(one, depth)), list(self._parts(other, depth))
        return (
            any(self._exclude(a, b, depth) for a in parts for b in others)
            or self._leave_nothing(parts, other, depth)
            or self._leave_nothing(others, one, depth)
        )

    def _parts(self, schema: object, depth: int) -> Iterator[dict[str, Any]]:
        """Schemas that all hold where this one does."""
        self._num_left -= 1
        if not isinstance(schema, dict) or depth == 0 or self._num_left < 0:
            return
        if "$ref" in schema:
            target = referred(self._root, schema)
            if target is not None:
                yield from self._parts(target, depth - 1)
            return
        yield schema
        for part in _list(schema.get("allOf")):
            yield from self._parts(part, depth - 1)

    def _leave_nothing(self, parts: Sequence[dict[str, Any]], other: object, depth: int) -> bool:
        """Whether some part is a choice, and nothing of `other` is in any of its alternatives."""
        choices = [_list(part.get(name)) for part in parts for name in ("anyOf", "oneOf")]
        return depth > 0 and any(
            choice and all(self.holds(each, other, depth - 1) for each in choice)
            for choice in choices
        )

    def _exclude(self, a: dict[str, Any], b: dict[str, Any], depth: int) -> bool:
        self._num_left -= 1
        if self._num_left < 0:
            return False
        values, others = _values(a), _values(b)
        if values is not None and others is not None:
            return not values & others
        types = _types(a) & _types(b)
        if types == {"object"}:
            return _lacks(a, b) or _lacks(b, a) or self._tell(a, b, depth)
        return not types

    def _tell(self, a: dict[str, Any], b: dict[str, Any], depth: int) -> bool:
        """Whether both demand a property that cannot have a value for both."""
        properties, others = _properties(a), _properties(b)
        return depth > 0 and any(
            self.holds(properties[name], others[name], depth - 1)
            for name in sorted(_required(a) & _required(b))
            if name in properties and name in others
        )


def _values(schema: dict[str, Any]) -> set[str] | None:
    """All that it allows, as text, if they are listed and equal only if written equally."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(values, list) or any(isinstance(v, (dict, list, float)) for v in values):
        return None
    return {json.dumps(value) for value in values}


def _types(schema: dict[str, Any]) -> frozenset[str]:
    """Those that it allows; an integer is a number."""
    if "type" in schema:
        given = schema["type"]
        names = given if isinstance(given, list) else [given]
        return frozenset("number" if name == "integer" else str(name) for name in names)
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        return frozenset(_TYPE_NAMES.get(type(value), "number") for value in values)
    return _ALL_TYPES


def _lacks(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether one allows listed properties alone, and the other demands another one."""
    is_closed = a.get("additionalProperties") is False and not a.get("patternProperties")
    return is_closed and not _required(b) <= _properties(a).keys()


def _required(schema: dict[str, Any]) -> set[str]:
    return {name for name in _list(schema.get("required")) if isinstance(name, str)}


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
