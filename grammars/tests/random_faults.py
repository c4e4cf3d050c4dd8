"""Values that a schema refuses: valid ones with a change, told apart by a validator."""

import copy
import json
from collections.abc import Iterator, MutableMapping, MutableSequence
from random import Random
from typing import Any

import jsonschema
from random_sorts import CONSTANTS, Schema

MAX_TRIES = 8
Judge = jsonschema.protocols.Validator


def judge_of(schema: Schema) -> Judge:
    """The draft that the schema names or 2020-12, formats included."""
    draft = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return draft(schema, format_checker=draft.FORMAT_CHECKER)


def spoiled(judge: Judge, value: Any, chance: Random) -> Iterator[object]:
    """Variants of `value` that `judge` refuses; often few, for a lenient schema none."""
    for _ in range(MAX_TRIES):
        variant = changed(value, chance)
        if not judge.is_valid(variant):
            yield variant


def changed(value: object, chance: Random) -> Any:
    """A copy with one change somewhere."""
    holder = [json.loads(json.dumps(value))]
    places = list(_places(holder))
    parent, key = chance.choice(places)
    chance.choice((_replace, _replace, _distort, _remove, _add))(parent, key, chance)
    return holder[0] if holder else None


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every value inside `node` as its parent and its key."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from _places(node[key])


def _replace(parent: Any, key: Any, chance: Random) -> None:
    parent[key] = copy.deepcopy(chance.choice(CONSTANTS))


def _remove(parent: Any, key: Any, chance: Random) -> None:
    del parent[key]


def _distort(parent: Any, key: Any, chance: Random) -> None:
    """Change a value into one of the same type."""
    value = parent[key]
    if isinstance(value, bool) or value is None:
        _replace(parent, key, chance)
    elif isinstance(value, (int, float)):
        parent[key] = chance.choice([value + 1, value - 1, value + 0.5, -value, value * 1000])
    elif isinstance(value, str):
        parent[key] = chance.choice([value + "x", value[:-1], value * 3, value.upper(), value[1:]])


def _add(parent: Any, key: Any, chance: Random) -> None:
    """One more item or property."""
    target = parent[key] if isinstance(parent[key], (dict, list)) else parent
    extra = copy.deepcopy(chance.choice(CONSTANTS))
    if isinstance(target, MutableMapping):
        target[chance.choice(["more", "x y", "a", "kind"])] = extra
    elif isinstance(target, MutableSequence):
        target.append(extra)
