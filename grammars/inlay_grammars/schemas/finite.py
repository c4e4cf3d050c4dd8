"""Schemas whose every instance would have to contain another instance, without end."""

from typing import Any

from inlay_grammars.schemas.tree import Root, Schema, reachable, referred


def has_finite_instance(root: Root) -> bool:
    """False only if it is certain that no finite text is valid."""
    schemas = [schema for _, schema in reachable(root)]
    finite: set[int] = set()
    is_growing = True
    while is_growing:
        # What is used stands behind what uses it, as a rule.
        new = [s for s in reversed(schemas) if id(s) not in finite and _take(s, root, finite)]
        is_growing = bool(new) and id(root) not in finite
    return id(root) in finite


def _take(schema: dict[str, Any], root: Root, finite: set[int]) -> bool:
    """Whether a schema has a finite instance, as far as the known ones tell; then it joins them."""
    if not all(_is_finite(part, finite) for part in _parts(schema, root)):
        return False
    for keyword in ("anyOf", "oneOf"):
        alternatives = schema.get(keyword)
        if isinstance(alternatives, list) and not any(_is_finite(a, finite) for a in alternatives):
            return False
    finite.add(id(schema))
    return True


def _is_finite(schema: Schema, finite: set[int]) -> bool:
    return not isinstance(schema, dict) or id(schema) in finite


def _parts(schema: dict[str, Any], root: Root) -> list[Any]:
    """The schemas that an instance must have instances of, or be one of."""
    parts = [part for part in (referred(root, schema),) if part is not None]
    if isinstance(all_of := schema.get("allOf"), list):
        parts += all_of
    names, properties = schema.get("required"), schema.get("properties")
    if schema.get("type") == "object" and isinstance(names, list) and isinstance(properties, dict):
        parts += [properties[n] for n in names if isinstance(n, str) and n in properties]
    num_items = schema.get("minItems", 0)
    if schema.get("type") == "array" and isinstance(num_items, int) and num_items > 0:
        parts.append(schema.get("items", True))
    return parts
