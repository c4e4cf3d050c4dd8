"""Changes JSON as a tree: what comes out is mostly JSON still, and mostly not what was meant."""

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from fuzz.mutation import damage

_Place = tuple[Any, Any]
"""A container, and the key or index of something in it."""

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, -1e308),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30),
    *("", " ", "a", "0", "null", "true", "\0", "\n", "\u2028", "é", "🙂" * 3, "\ufeff", "ẞ"),
    *("\U000f0000", "\U000f0001", "\U000f0002", "<s>", "</s>", "<image>", "<image>" * 50),
    *("![](", "![](data:,)", "![](http://127.0.0.1/)", "![](file:///etc/passwd)", "a" * 5000),
    *("{{ 7*7 }}", "{% for x in y %}", "<tool_call>", "</tool_call>", "%s%n", "../../etc/passwd"),
    *([], {}, [[]], [{}], {"": ""}, [None], {"$ref": "#"}, {"type": "object"}, {"a": {"a": {}}}),
    *(["a"] * 300, list(range(3000)), {str(i): i for i in range(400)}, [[[[[[]]]]]]),
)


_MAX_REPEATED_BYTES = 100_000


def damage_json(data: bytes, other: bytes, chance: Random) -> bytes:
    """`data` as JSON with one to five changes, now and then as bytes; what is no JSON as bytes."""
    tree = _parse(data)
    if tree is None or chance.random() < 0.12:
        return damage(data, other, chance, _WORDS)
    whole = [tree]
    for _ in range(chance.randint(1, 5)):
        _change(whole, [_parse(other)], chance)
    return _text(whole[0], chance)


_WORDS = tuple(
    b'{ } [ ] , : " \\ null NaN Infinity 1e999 \\ud800 \\u0000 \xff \xed\xa0\x80'.split()
) + (b"[" * 3000, b'{"a":' * 1100, b"9" * 5000, b"/**/")


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _text(tree: Any, chance: Random) -> bytes:
    try:
        text = json.dumps(tree, ensure_ascii=chance.random() < 0.5)
    except (ValueError, RecursionError):
        return b"[" * 2000
    return text.encode("utf-8", "surrogatepass")


def _change(whole: list[Any], donor: list[Any], chance: Random) -> None:
    container, key = chance.choice(list(_places(whole)))
    chance.choice(_CHANGES)(container, key, donor, chance)
    if not whole:
        whole.append(None)


def _places(tree: Any, depth: int = 0) -> Iterator[_Place]:
    if depth > 60:
        return
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(entries):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value, depth + 1)


def _replace(container: Any, key: Any, donor: list[Any], chance: Random) -> None:
    container[key] = copy.deepcopy(chance.choice(_VALUES))


def _remove(container: Any, key: Any, donor: list[Any], chance: Random) -> None:
    del container[key]


def _wrap(container: Any, key: Any, donor: list[Any], chance: Random) -> None:
    value = container[key]
    for _ in range(chance.choice((1, 1, 2, 40, 120, 400, 850))):
        value = [value] if chance.random() < 0.5 else {"a": value}
    container[key] = value


def _repeat(container: Any, key: Any, donor: list[Any], chance: Random) -> None:
    value = container[key]
    num_times = chance.choice((0, 2, 10, 50))
    if len(_text(value, chance)) * num_times > _MAX_REPEATED_BYTES:
        return
    is_joined = isinstance(value, (str, list))
    container[key] = value * num_times if is_joined else [value] * num_times


def _rename(container: Any, key: Any, donor: list[Any], chance: Random) -> None:
    if isinstance(container, dict):
        container[chance.choice(("", "a", "type", "$ref", key.upper(), key + " "))] = container.pop(
            key
        )


def _graft(container: Any, key: Any, donor: list[Any], chance: Random) -> None:
    """Something of another input at this place, or beside it under its own name."""
    places = list(_places(donor))
    if not places:
        return
    source, name = chance.choice(places)
    if isinstance(container, dict) and isinstance(name, str) and chance.random() < 0.7:
        container[name] = source[name]
    else:
        container[key] = source[name]


def _edit(container: Any, key: Any, donor: list[Any], chance: Random) -> None:
    value = container[key]
    if isinstance(value, str):
        words = (b"![](", b")", b"<image>", b"</s>", b"\xf3\xb0\x80\x80", b"\0", b"data:,", b"$ref")
        damaged = damage(value.encode("utf-8", "surrogatepass"), b"", chance, words)
        container[key] = damaged.decode("utf-8", chance.choice(("replace", "surrogateescape")))
    elif isinstance(value, (int, float)):
        container[key] = chance.choice((-value, value + 1, value * 10, value / 3, value * 1e300))


_CHANGES: tuple[Callable[[Any, Any, list[Any], Random], None], ...] = (
    _replace,
    _replace,
    _remove,
    _wrap,
    _repeat,
    _rename,
    _graft,
    _graft,
    _edit,
    _edit,
)
