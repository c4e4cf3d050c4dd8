"""Numbers on a command line, refused with their limits and what was given."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T", int, float)

_MAX_PORT = 65535


def positive(text: str) -> int:
    """A whole number of at least 1. Raises ArgumentTypeError, as all here."""
    return _number(text, int, lambda number: number >= 1, "a whole number of at least 1")


def count(text: str) -> int:
    """A whole number; 0 is one."""
    return _number(text, int, lambda number: number >= 0, "a whole number of at least 0")


def port(text: str) -> int:
    """Of TCP; 0 lets the system choose."""
    words = f"a whole number from 0 to {_MAX_PORT}"
    return _number(text, int, lambda number: 0 <= number <= _MAX_PORT, words)


def seconds(text: str) -> float:
    """A time that is not nothing."""
    return _number(text, float, lambda number: number > 0, "a number of seconds, more than 0")


def patience(text: str) -> float:
    """A time to wait; none at all is a choice too."""
    return _number(text, float, lambda number: number >= 0, "a number of seconds, at least 0")


def _number(text: str, kind: Callable[[str], T], is_allowed: Callable[[T], bool], words: str) -> T:
    number: T | None = None
    with suppress(ValueError):
        number = kind(text)
    if number is None or not is_allowed(number):
        raise ArgumentTypeError(f"must be {words}. Given: {text}")
    return number
