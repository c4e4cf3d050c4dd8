"""Schemas of single values, each beside a way to make values that it allows."""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

Schema = dict[str, object]

LETTERS = string.ascii_letters + ' _-"\\/\n\té😀日\u2028'
"""Characters that JSON writes plainly, escapes, or takes several bytes for."""


@dataclass(frozen=True)
class Sort:
    """A schema, and what makes values that it allows."""

    schema: Schema
    make: Callable[[Random], object]


def integer(chance: Random) -> Sort:
    """Between two bounds, either of them exclusive or absent, perhaps a multiple."""
    low = chance.randint(-1000, 1000)
    high = low + chance.randint(0, 2000)
    step = chance.choice([1, 1, 1, 3, 10])
    low_step, high_step = -(-low // step), max(high // step, -(-low // step))
    schema: Schema = {"type": "integer"}
    if step > 1:
        schema["multipleOf"] = step
    schema |= _bounds(chance, low_step * step, high_step * step, 1)
    return Sort(schema, lambda chance: step * chance.randint(low_step, high_step))


def number(chance: Random) -> Sort:
    """Between two bounds that are quarters, so that nothing is lost by rounding."""
    low = chance.randint(-400, 400)
    high = low + chance.randint(0, 400)
    schema: Schema = {"type": "number", **_bounds(chance, low / 4, high / 4, 0.25)}
    return Sort(schema, lambda chance: _quarters(chance.randint(low, high)))


def _quarters(count: int) -> float:
    """A whole number is written without a fraction."""
    return count / 4 if count % 4 else count // 4


def _bounds(chance: Random, low: float, high: float, step: float) -> Schema:
    """Bounds that allow [low, high]."""
    lower = chance.choice([{"minimum": low}, {"exclusiveMinimum": low - step}, {}])
    upper = chance.choice([{"maximum": high}, {"exclusiveMaximum": high + step}, {}])
    return {**lower, **upper}


def text(chance: Random) -> Sort:
    """Any text between two lengths, which count characters."""
    shortest = chance.choice([0, 0, 1, 3])
    longest = shortest + chance.choice([0, 1, 5, 20])
    schema: Schema = {"type": "string"}
    if shortest:
        schema["minLength"] = shortest
    if chance.random() < 0.7:
        schema["maxLength"] = longest
    return Sort(schema, lambda chance: letters(chance, chance.randint(shortest, longest)))


def letters(chance: Random, length: int, alphabet: Sequence[str] = LETTERS) -> str:
    """So many characters."""
    return "".join(chance.choice(alphabet) for _ in range(length))


def digits(chance: Random, length: int) -> str:
    """So many decimal digits."""
    return letters(chance, length, string.digits)


def lower(chance: Random, length: int) -> str:
    """So many small letters."""
    return letters(chance, length, string.ascii_lowercase)


PATTERNS: tuple[tuple[str, Callable[[Random], str]], ...] = (
    ("^[a-z]{1,8}$", lambda chance: lower(chance, chance.randint(1, 8))),
    ("^[0-9]{3}(-[0-9]{4})?$", lambda chance: digits(chance, 3) + chance.choice(["", "-0123"])),
    ("^(red|green|blue)$", lambda chance: chance.choice(["red", "green", "blue"])),
    ("[0-9]", lambda chance: lower(chance, chance.randint(0, 3)) + digits(chance, 1)),
    ("^v[0-9]+\\.[0-9]+$", lambda chance: f"v{digits(chance, 2)}.{digits(chance, 1)}"),
    ("^.{2,4}$", lambda chance: lower(chance, chance.randint(2, 4))),
)

FORMATS: tuple[tuple[str, Callable[[Random], str]], ...] = (
    ("date", lambda chance: f"{chance.randint(1900, 2100)}-{chance.randint(1, 12):02}-28"),
    ("date-time", lambda chance: f"2026-11-{chance.randint(1, 30):02}T07:08:09Z"),
    ("time", lambda chance: f"{chance.randint(0, 23):02}:59:00Z"),
    ("email", lambda chance: f"{lower(chance, 5)}@{lower(chance, 4)}.org"),
    ("ipv4", lambda chance: ".".join(str(chance.randint(0, 255)) for _ in range(4))),
    ("ipv6", lambda chance: ":".join(f"{chance.randint(0, 0xFFFF):x}" for _ in range(8))),
    ("uuid", lambda chance: str(UUID(int=chance.randint(0, 2**128 - 1)))),
    ("hostname", lambda chance: f"{lower(chance, 4)}.{lower(chance, 3)}"),
    ("uri", lambda chance: f"https://{lower(chance, 4)}.org/{lower(chance, 3)}?q=1#x"),
    ("duration", lambda chance: f"P{chance.randint(1, 9)}DT{chance.randint(1, 9)}H"),
)


def patterned(chance: Random) -> Sort:
    """Text that a regex describes, with its anchors or without."""
    pattern, make = chance.choice(PATTERNS)
    return Sort({"type": "string", "pattern": pattern}, make)


def formatted(chance: Random) -> Sort:
    """Text of a named format."""
    name, make = chance.choice(FORMATS)
    return Sort({"type": "string", "format": name}, make)


CONSTANTS: tuple[object, ...] = (
    *("red", "a b", "😀", '"', "", 0, -7, 1.5, True, False, None),
    *([], [1, "x"], {}, {"a": {"b": None}}),
)


def choice(chance: Random) -> Sort:
    """One of a few constants of any type."""
    values = chance.sample(CONSTANTS, chance.randint(1, 5))
    if len(values) == 1 and chance.random() < 0.5:
        return Sort({"const": values[0]}, lambda _: values[0])
    return Sort({"enum": values}, lambda chance: chance.choice(values))


def boolean(chance: Random) -> Sort:
    """True or false."""
    return Sort({"type": "boolean"}, lambda chance: chance.random() < 0.5)


def null(chance: Random) -> Sort:
    """Nothing."""
    return Sort({"type": "null"}, lambda _: None)


def anything(chance: Random) -> Sort:
    """Whatever is JSON."""
    return Sort({}, lambda chance: chance.choice(CONSTANTS))


def several_types(chance: Random) -> Sort:
    """A list of types."""
    examples = {"string": "x", "integer": 3, "boolean": True, "null": None, "array": [1]}
    names = chance.sample(sorted(examples), 2)
    return Sort({"type": names}, lambda chance: examples[chance.choice(names)])


SINGLE: tuple[Callable[[Random], Sort], ...] = (
    *(integer, number, text, patterned, formatted, choice),
    *(boolean, null, anything, several_types),
)
