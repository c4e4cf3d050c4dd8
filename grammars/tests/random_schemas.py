"""Schemas of every shape that is enforced, each beside a way to make values that it allows.

Randomness comes from outside, so hypothesis can draw and shrink it, and a bench can seed it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from random_sorts import CONSTANTS, SINGLE, Schema, Sort, boolean, integer, null, patterned

NAMES = ("a", "b", "kind", "first name", "é", 'quo"te', "$x", "items")
EXTRA_NAMES = ("more", "zz", "", "日")
MAX_DEPTH = 3


@dataclass(frozen=True)
class Draft:
    """A schema that is being written: where chance comes from, and what `$ref` may point to."""

    chance: Random
    definitions: dict[str, Schema] = field(default_factory=dict)


def random_schema(chance: Random) -> Sort:
    """A whole schema."""
    draft = Draft(chance)
    sort = some_sort(draft, 0)
    if draft.definitions:
        return Sort({**sort.schema, "$defs": draft.definitions}, sort.make)
    return sort


def some_sort(draft: Draft, depth: int) -> Sort:
    """A single value, or a container of sorts."""
    if depth >= MAX_DEPTH or draft.chance.random() < 0.2 + 0.2 * depth:
        return draft.chance.choice(SINGLE)(draft.chance)
    return draft.chance.choice(CONTAINERS)(draft, depth + 1)


def array(draft: Draft, depth: int) -> Sort:
    """Items of one sort, between two numbers of them."""
    item = some_sort(draft, depth)
    fewest = draft.chance.choice([0, 0, 1, 2])
    most = fewest + draft.chance.randint(0, 3)
    schema: Schema = {"type": "array", "items": item.schema}
    if fewest:
        schema["minItems"] = fewest
    if draft.chance.random() < 0.6:
        schema["maxItems"] = most
    return Sort(schema, lambda c: [item.make(c) for _ in range(c.randint(fewest, most))])


def tuple_of_sorts(draft: Draft, depth: int) -> Sort:
    """A sort for each place and none behind them."""
    sorts = [some_sort(draft, depth) for _ in range(draft.chance.randint(1, 3))]
    schema: Schema = {
        "type": "array",
        "prefixItems": [sort.schema for sort in sorts],
        "items": False,
        "minItems": len(sorts),
    }
    return Sort(schema, lambda c: [sort.make(c) for sort in sorts])


def record(draft: Draft, depth: int) -> Sort:
    """Named properties, some of them required, and perhaps others."""
    chance = draft.chance
    names = chance.sample(NAMES, chance.randint(1, 4))
    sorts = {name: some_sort(draft, depth) for name in names}
    required = [name for name in names if chance.random() < 0.5]
    others = chance.choice([None, False, boolean(chance), integer(chance)])
    schema: Schema = {
        "type": "object",
        "properties": {name: sort.schema for name, sort in sorts.items()},
    }
    if required:
        schema["required"] = required
    if others is not None:
        schema["additionalProperties"] = others.schema if isinstance(others, Sort) else others
    make_other = others.make if isinstance(others, Sort) else lambda c: c.choice(CONSTANTS)
    can_have_others = others is not False

    def make(chance: Random) -> object:
        present = [n for n in sorts if n in required or chance.random() < 0.5]
        extra = chance.sample(EXTRA_NAMES, chance.randint(0, 2)) if can_have_others else []
        return {n: sorts[n].make(chance) for n in present} | {n: make_other(chance) for n in extra}

    return Sort(schema, make)


def dictionary(draft: Draft, depth: int) -> Sort:
    """Any names with values of one sort, or names that a pattern describes."""
    value = some_sort(draft, depth)
    if draft.chance.random() < 0.5:
        names: Sequence[str] = EXTRA_NAMES
        schema: Schema = {"type": "object", "additionalProperties": value.schema}
    else:
        names = ("p_1", "p_x", "p_")
        patterns = {"^p_": value.schema}
        schema = {"type": "object", "patternProperties": patterns, "additionalProperties": False}
    return Sort(schema, lambda c: {n: value.make(c) for n in c.sample(names, c.randint(0, 3))})


def either(draft: Draft, depth: int) -> Sort:
    """One of several sorts, which may overlap."""
    sorts = [some_sort(draft, depth) for _ in range(draft.chance.randint(2, 3))]
    return Sort({"anyOf": [s.schema for s in sorts]}, lambda c: c.choice(sorts).make(c))


def exactly_one(draft: Draft, depth: int) -> Sort:
    """One of several sorts that differ in their type, or in a constant."""
    chance = draft.chance
    if chance.random() < 0.5:
        sorts = [make(chance) for make in (integer, patterned, boolean, null)][
            : chance.randint(2, 4)
        ]
    else:
        sorts = [tagged(draft, depth, tag) for tag in ("circle", "square")]
    return Sort({"oneOf": [s.schema for s in sorts]}, lambda c: c.choice(sorts).make(c))


def tagged(draft: Draft, depth: int, tag: str) -> Sort:
    """An object that says what it is."""
    value = some_sort(draft, depth)
    schema: Schema = {
        "type": "object",
        "properties": {"kind": {"const": tag}, "value": value.schema},
        "required": ["kind", "value"],
        "additionalProperties": False,
    }
    return Sort(schema, lambda c: {"kind": tag, "value": value.make(c)})


def all_at_once(draft: Draft, depth: int) -> Sort:
    """A sort whose limits stand in several schemas."""
    if draft.chance.random() < 0.5:
        low = draft.chance.randint(-50, 50)
        limits: list[Schema] = [{"minimum": low}, {"maximum": low + 9}]
        return Sort({"type": "integer", "allOf": limits}, lambda c: low + c.randint(0, 9))
    value = some_sort(draft, depth)
    halves: list[Schema] = [
        {"type": "object", "properties": {"a": value.schema}},
        {"required": ["a"], "properties": {"b": {"type": "null"}}},
    ]
    return Sort({"allOf": halves}, lambda c: {"a": value.make(c)} | c.choice([{}, {"b": None}]))


def reference(draft: Draft, depth: int) -> Sort:
    """A sort that is defined elsewhere."""
    name = f"sort {len(draft.definitions)}"
    draft.definitions[name] = {}
    target = some_sort(draft, depth)
    draft.definitions[name] = target.schema
    return Sort({"$ref": f"#/$defs/{name.replace(' ', '%20')}"}, target.make)


def tree(draft: Draft, depth: int) -> Sort:
    """Nodes that hold nodes."""
    value = some_sort(draft, MAX_DEPTH)
    name = f"node{len(draft.definitions)}"
    link: Schema = {"$ref": f"#/$defs/{name}"}
    draft.definitions[name] = {
        "type": "object",
        "properties": {
            "value": value.schema,
            "children": {"type": "array", "items": link, "maxItems": 2},
        },
        "required": ["value"],
        "additionalProperties": False,
    }

    def make(chance: Random, levels: int = 2) -> object:
        node = {"value": value.make(chance)}
        if levels and chance.random() < 0.5:
            children = [make(chance, levels - 1) for _ in range(chance.randint(0, 2))]
            return node | {"children": children}
        return node

    return Sort(link, make)


CONTAINERS: tuple[Callable[[Draft, int], Sort], ...] = (
    *(array, tuple_of_sorts, record, record, record, dictionary),
    *(either, exactly_one, all_at_once, reference, tree),
)
