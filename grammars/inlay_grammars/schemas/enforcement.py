"""What each backend enforces of JSON Schema: what it would ignore is found before it is asked."""

from collections.abc import Callable, Iterator
from typing import Any

from inlay_grammars.options import BackendName
from inlay_grammars.schemas.formats import ENFORCED
from inlay_grammars.schemas.tree import ASSERTIONS, Root, escaped, reachable, referred

REFUSED_BY_LLGUIDANCE = frozenset(
    ("$dynamicRef", "$recursiveRef", "contains", "dependencies", "dependentRequired")
    + ("dependentSchemas", "else", "if", "maxContains", "minContains", "not", "propertyNames")
    + ("then", "unevaluatedItems", "unevaluatedProperties", "uniqueItems")
)

_PLAIN = {
    "string": set[str](),
    "integer": set[str](),
    "number": set[str](),
    "boolean": set[str](),
    "null": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}
_PLAIN_TO: dict[BackendName, dict[str, set[str]]] = {
    "xgrammar": _PLAIN | {"integer": {"minimum", "maximum"}},
    "outlines_core": _PLAIN | {"string": {"minLength", "maxLength"}},
}
"""What is enforced of each type, when `type` names that type alone. xgrammar allows no escapes in
a string of bounded length, so that none with a line break or a quote could be written."""


def not_enforced(root: Root, backend: BackendName) -> Iterator[str]:
    """Pointers to the keywords that a backend ignores, or cannot be trusted with.

    llguidance refuses by itself what it does not enforce; here its refusals get a place.
    """
    for path, schema in reachable(root):
        if backend == "llguidance":
            keywords = _refused_by_llguidance(schema)
        else:
            keywords = _not_plain(schema, root, _PLAIN_TO[backend])
        yield from (f"{path}/{escaped(keyword)}" for keyword in keywords)


def _refused_by_llguidance(schema: dict[str, Any]) -> Iterator[str]:
    yield from (keyword for keyword in schema if keyword in REFUSED_BY_LLGUIDANCE)
    name = schema.get("format")
    if isinstance(name, str) and name not in ENFORCED:
        yield "format"


def _not_plain(schema: dict[str, Any], root: Root, plain: dict[str, set[str]]) -> Iterator[str]:
    """For backends that ignore a lot: whatever is not known to be enforced."""
    keywords = [keyword for keyword in schema if keyword in ASSERTIONS]
    if "$ref" in keywords:
        known = {"$ref"} if referred(root, schema) is not None else set()
    elif "anyOf" in keywords:
        known = {"anyOf"}
    elif "enum" in keywords or "const" in keywords:
        known = {"enum", "const", "type"} if _are_plain_values(schema) else {"type"}
    else:
        known = {"type", *plain.get(str(schema.get("type")), ())}
    yield from (keyword for keyword in keywords if keyword not in known)
    yield from (keyword for keyword, is_plain in _VALUES.items() if not is_plain(schema))


_VALUES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "additionalProperties": lambda schema: schema.get("additionalProperties", False) is False,
    "items": lambda schema: isinstance(schema.get("items", {}), dict),
    "required": lambda schema: set(schema.get("required", ())) <= set(schema.get("properties", ())),
}
"""Keywords that are enforced with some values only."""


def _are_plain_values(schema: dict[str, Any]) -> bool:
    """Whether `enum` or `const`, not both, lists plain values, all of the `type` beside them."""
    if "enum" in schema and "const" in schema:
        return False
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    names = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
    types = {names.get(type(value), "") for value in values} if isinstance(values, list) else {""}
    return "" not in types and ("type" not in schema or types == {schema["type"]})
