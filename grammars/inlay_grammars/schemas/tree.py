"""Where the schemas inside a JSON schema are."""

from collections.abc import Iterator
from typing import Any, TypeAlias
from urllib.parse import unquote

Schema: TypeAlias = dict[str, Any] | bool
Root: TypeAlias = dict[str, Any]

ONE = frozenset(
    ("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not")
    + ("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties")
)
"""Keywords whose value is a schema; that of `items` may be a list, too."""
MANY = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
"""Keywords whose value is a list of schemas."""
NAMED = frozenset(("dependencies", "dependentSchemas", "patternProperties", "properties"))
"""Keywords whose value holds schemas by name; that of `dependencies` may hold lists of names."""
BOUNDS = frozenset(
    ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf")
    + ("maxContains", "maxItems", "maxLength", "maxProperties")
    + ("minContains", "minItems", "minLength", "minProperties")
)
OTHERS = frozenset(
    ("$dynamicRef", "$recursiveRef", "$ref", "const", "dependentRequired", "enum", "format")
    + ("pattern", "required", "type", "uniqueItems")
)
ASSERTIONS = ONE | MANY | NAMED | BOUNDS | OTHERS
"""Keywords that say what is valid. Every other one is an annotation to JSON Schema."""


def children(schema: dict[str, Any]) -> Iterator[tuple[str, Schema]]:
    """The schemas directly inside one, each behind its pointer; those it refers to not."""
    for keyword, value in schema.items():
        if keyword in ONE and isinstance(value, (dict, bool)):
            yield f"/{keyword}", value
        elif keyword in MANY and isinstance(value, list):
            yield from ((f"/{keyword}/{i}", v) for i, v in enumerate(value) if _is_schema(v))
        elif keyword in NAMED and isinstance(value, dict):
            yield from ((f"/{keyword}/{escaped(k)}", v) for k, v in value.items() if _is_schema(v))


def reachable(root: Root) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema that an answer can depend on, each once, behind its pointer from the root."""
    pending: list[tuple[str, Schema]] = [("", root)]
    seen: set[int] = set()
    while pending:
        path, schema = pending.pop()
        if isinstance(schema, bool) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield path, schema
        pending += reversed([(path + step, child) for step, child in children(schema)])
        target = referred(root, schema)
        if target is not None:
            pending.append((schema["$ref"][1:], target))


def referred(root: Root, schema: dict[str, Any]) -> Schema | None:
    """What the `$ref` of a schema points at, if it is a pointer into the same document."""
    pointer = schema.get("$ref")
    if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
        return None
    node: Any = root
    for step in pointer[2:].split("/") if len(pointer) > 1 else ():
        node = _step(node, unquote(step).replace("~1", "/").replace("~0", "~"))
    return node if _is_schema(node) else None


def escaped(name: str) -> str:
    """A name as a JSON pointer shows it."""
    return name.replace("~", "~0").replace("/", "~1")


def _step(node: Any, name: str) -> Any:
    if isinstance(node, dict):
        return node.get(name)
    if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
        return node[int(name)]
    return None


def _is_schema(value: object) -> bool:
    return isinstance(value, (dict, bool))
