"""Damages bytes: what transport, truncation and malice do to them."""

from collections.abc import Callable, Sequence
from random import Random

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MAX_BYTES = 1 << 16


def damage(data: bytes, other: bytes, chance: Random, words: Sequence[bytes] = ()) -> bytes:
    """`data` after one to four changes; `words` are what is worth writing into it."""
    for _ in range(chance.randint(1, 4)):
        change = chance.choice(_CHANGES)
        data = change(data, other, chance, words or (b"\0",))[:_MAX_BYTES]
    return data


def _place(data: bytes, chance: Random) -> int:
    return chance.randint(0, len(data))


def _span(data: bytes, chance: Random) -> tuple[int, int]:
    start = _place(data, chance)
    return start, min(len(data), start + chance.choice((1, 1, 2, 4, 8, 32, 256, 4096)))


def _flip(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _overwrite(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    """A length or a count becomes one that is hard to believe."""
    size = chance.choice((1, 2, 4))
    order = chance.choice(("big", "little"))
    number = (chance.choice(_NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, order)  # type: ignore[arg-type]
    at = _place(data, chance)
    return data[:at] + number + data[at + size :]


def _cut(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    return data[: _place(data, chance)]


def _remove(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[start:end] * chance.choice((2, 3, 17, 200)) + data[end:]


def _insert(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice(words) + data[at:]


def _scatter(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.randbytes(chance.randint(1, 16)) + data[at:]


def _splice(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    """The beginning of one and the end of another."""
    return data[: _place(data, chance)] + other[_place(other, chance) :]


def _graft(data: bytes, other: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    start, end = _span(other, chance)
    at = _place(data, chance)
    return data[:at] + other[start:end] + data[at:]


_Change = Callable[[bytes, bytes, Random, Sequence[bytes]], bytes]
_CHANGES: tuple[_Change, ...] = (
    _flip,
    _overwrite,
    _cut,
    _remove,
    _repeat,
    _insert,
    _insert,
    _scatter,
    _splice,
    _graft,
)
