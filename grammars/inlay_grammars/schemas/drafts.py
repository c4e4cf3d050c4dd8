"""JSON schemas of draft 4, said in draft 7."""

from typing import Any

from inlay_grammars.schemas.tree import Root, reachable

DRAFT_4 = "draft-04"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
NEWER = frozenset(
    ("$anchor", "$dynamicRef", "$id", "$recursiveRef", "const", "contains", "dependentRequired")
    + ("dependentSchemas", "else", "if", "maxContains", "minContains", "prefixItems")
    + ("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties")
)
"""Keywords that mean nothing to draft 4, and whose authors may have meant a newer one."""
BOUNDS = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))


def modernise(root: Root) -> None:
    """Say a schema of draft 4 in draft 7, in place, where that is exact; else leave it.

    What differs in what is valid: bounds are exclusive by a boolean, `id` is the base of
    references, and some keywords are not known.
    """
    if DRAFT_4 not in str(root.get("$schema", "")):
        return
    schemas = [schema for _, schema in reachable(root)]
    if not all(_is_translatable(schema, is_root=schema is root) for schema in schemas):
        return
    for schema in schemas:
        for exclusive, bound in BOUNDS:
            if schema.pop(exclusive, False) and bound in schema:
                schema[exclusive] = schema.pop(bound)
    root["$schema"] = DRAFT_7


def _is_translatable(schema: dict[str, Any], *, is_root: bool) -> bool:
    if schema.keys() & NEWER or ("id" in schema and not is_root):
        return False
    if not f"{schema.get('$ref', '#')}/".startswith("#/"):
        return False  # by the name of an `id`, or into another document
    return all(isinstance(schema.get(exclusive, False), bool) for exclusive, _ in BOUNDS)
