"""Keywords that no backend enforces, said with those that llguidance does, where that is exact."""

import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from inlay_grammars.schemas.disjoint import Disjointness
from inlay_grammars.schemas.drafts import modernise
from inlay_grammars.schemas.formats import ENFORCED, NOT_ENFORCED, PATTERNS
from inlay_grammars.schemas.negation import NoOpposite, any_of, opposite, other_types
from inlay_grammars.schemas.tree import Root, Schema, reachable

MAX_PERMUTATIONS = 400
"""Arrays written out for one `uniqueItems`."""
MAX_SUBSETS = 50
"""Sets of properties written out for one `minProperties` or `maxProperties`."""
MAX_EXCLUSIVE = 12
"""Alternatives of a `oneOf` that are written out, each beside the opposites of all others."""
OLD_DRAFTS = ("draft-03", "draft-04")
"""In these, a bound is exclusive by a boolean, and a boolean is no schema."""


def rewrite(root: Root) -> None:
    """Replace keywords all over a document, in place. What has no exact replacement stays."""
    modernise(root)
    if any(draft in str(root.get("$schema", "")) for draft in OLD_DRAFTS):
        return
    for _, schema in list(reachable(root)):
        _add(schema, list(_replacements(schema, root)))


def _add(schema: dict[str, Any], parts: list[Schema]) -> None:
    """Parts that must hold besides; a schema's own come first, so that pointers into them stay."""
    others = schema.get("allOf", [])
    if parts and isinstance(others, list):
        schema["allOf"] = others + parts


def make_exclusive(root: Root) -> None:
    """Say every `oneOf` with `anyOf`, where alternatives that may overlap have opposites."""
    disjointness = Disjointness(root)
    for _, schema in list(reachable(root)):
        alternatives = schema.get("oneOf")
        if isinstance(alternatives, list) and 1 < len(alternatives) <= MAX_EXCLUSIVE:
            with suppress(NoOpposite):
                _add(schema, [any_of(list(_exclusive(alternatives, root, disjointness)))])
                del schema["oneOf"]


def _exclusive(alternatives: list[Any], root: Root, disjointness: Disjointness) -> Iterator[Schema]:
    """Each alternative, beside the opposites of those that it may overlap with."""
    for place, alternative in enumerate(alternatives):
        others = [*alternatives[:place], *alternatives[place + 1 :]]
        overlapping = [one for one in others if not disjointness.holds(alternative, one)]
        if not overlapping:
            yield alternative
        else:
            yield {"allOf": [alternative, *(opposite(one, root) for one in overlapping)]}


def _replacements(schema: dict[str, Any], root: Root) -> Iterator[Schema]:
    """What must hold besides; the keywords that it replaces are taken out."""
    _close(schema)
    yield from _dependencies(schema)
    yield from _opposites(schema, root)
    yield from _choices(schema, root)
    yield from _distinct_items(schema)
    yield from _counts(schema)
    yield from _formats(schema)


def _dependencies(schema: dict[str, Any]) -> Iterator[Schema]:
    for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
        needs_of = schema.get(keyword)
        if not isinstance(needs_of, dict) or not all(map(_is_need, needs_of.values())):
            continue
        for name, needs in schema.pop(keyword).items():
            required = needs if isinstance(needs, list) else []
            met: Schema = {"required": [name, *required]}
            if isinstance(needs, (dict, bool)):
                met = {"allOf": [met, needs]}
            yield {"anyOf": [{"properties": {name: False}}, met]}


def _is_need(value: object) -> bool:
    """A schema, or names of properties."""
    if isinstance(value, list):
        return all(isinstance(name, str) for name in value)
    return isinstance(value, (dict, bool))


def _opposites(schema: dict[str, Any], root: Root) -> Iterator[Schema]:
    if "not" in schema:
        try:
            yield opposite(schema["not"], root)
        except NoOpposite:
            return
        del schema["not"]


def _choices(schema: dict[str, Any], root: Root) -> Iterator[Schema]:
    """`if`, `then` and `else`."""
    if "if" not in schema or not schema.keys() & {"then", "else"}:
        for keyword in ("if", "then", "else"):
            schema.pop(keyword, None)
        return
    condition, then, otherwise = schema["if"], schema.get("then", True), schema.get("else", True)
    try:
        yield any_of(
            [{"allOf": [condition, then]}, {"allOf": [opposite(condition, root), otherwise]}]
        )
    except NoOpposite:
        return
    for keyword in ("if", "then", "else"):
        schema.pop(keyword, None)


def _distinct_items(schema: dict[str, Any]) -> Iterator[Schema]:
    if "uniqueItems" not in schema:
        return
    if schema["uniqueItems"] is False or schema.get("maxItems") in (0, 1):
        del schema["uniqueItems"]
        return
    values = _finite_items(schema.get("items"))
    arrays = list(itertools.islice(_permutations(values or []), MAX_PERMUTATIONS + 1))
    if values is not None and len(arrays) <= MAX_PERMUTATIONS:
        del schema["uniqueItems"]
        yield {"anyOf": [{"enum": arrays}, {"type": other_types("array")}]}


def _permutations(values: list[Any]) -> Iterator[list[Any]]:
    for length in range(len(values) + 1):
        yield from map(list, itertools.permutations(values, length))


def _finite_items(items: object) -> list[Any] | None:
    """What an item can be, if that is a short list."""
    if not isinstance(items, dict):
        return None
    values = items.get("enum", [items["const"]] if "const" in items else None)
    if values is None and items.get("type") == "boolean":
        values = [False, True]
    if not isinstance(values, list) or any(
        isinstance(value, (float, list, dict)) for value in values
    ):
        return None
    return values if len({json.dumps(value) for value in values}) == len(values) else None


def _counts(schema: dict[str, Any]) -> Iterator[Schema]:
    """`minProperties` and `maxProperties` where all properties are listed, some optional."""
    if not schema.keys() & {"minProperties", "maxProperties"}:
        return
    properties = schema.get("properties")
    if not isinstance(properties, dict) or schema.get("additionalProperties", True) is not False:
        return
    if "patternProperties" in schema or not isinstance(schema.get("required", []), list):
        return
    optional = [name for name in properties if name not in schema.get("required", [])]
    num_required = len(properties) - len(optional)
    least, most = schema.get("minProperties", 0), schema.get("maxProperties", len(properties))
    if not optional or type(least) is not int or type(most) is not int or most < num_required:
        return
    chosen = list(_subsets(optional, max(0, least - num_required)))
    left_out = list(_subsets(optional, max(0, len(properties) - most)))
    if chosen and left_out and max(len(chosen), len(left_out)) <= MAX_SUBSETS:
        schema.pop("minProperties", None)
        schema.pop("maxProperties", None)
        yield any_of({"required": names} if names else True for names in chosen)
        yield any_of(
            {"properties": dict.fromkeys(names, False)} if names else True for names in left_out
        )


def _subsets(names: list[str], size: int) -> Iterator[list[str]]:
    """Of this size; one more than are used, if there are too many."""
    yield from itertools.islice(map(list, itertools.combinations(names, size)), MAX_SUBSETS + 1)


def _formats(schema: dict[str, Any]) -> Iterator[Schema]:
    name = schema.get("format")
    if not isinstance(name, str) or name in ENFORCED or name in NOT_ENFORCED:
        return
    del schema["format"]
    if name in PATTERNS:
        yield {
            "anyOf": [
                {"type": "string", "pattern": PATTERNS[name]},
                {"type": other_types("string")},
            ]
        }


_IN_PLACE = frozenset(
    ("$dynamicRef", "$ref", "allOf", "anyOf", "dependencies", "dependentSchemas", "if", "oneOf")
)


def _close(schema: dict[str, Any]) -> None:
    """`unevaluatedProperties` where this schema alone evaluates any; and what says nothing."""
    if schema.get("unevaluatedProperties") is True or "additionalProperties" in schema:
        schema.pop("unevaluatedProperties", None)
    if "unevaluatedProperties" in schema and not schema.keys() & _IN_PLACE:
        schema["additionalProperties"] = schema.pop("unevaluatedProperties")
    if schema.get("propertyNames") is True or schema.get("propertyNames") == {"type": "string"}:
        del schema["propertyNames"]
    if "contains" not in schema:
        for keyword in ("minContains", "maxContains"):
            schema.pop(keyword, None)
