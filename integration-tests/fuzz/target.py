"""What is thrown at, and what counts as wrong."""

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

SEEDS = Path(__file__).parent / "seeds"
"""A folder a target: inputs that were once wrong, tried first and in every test run."""

Try: TypeAlias = Callable[[bytes], Awaitable[str]]
"""Gives an input to the target and says in a few words how that behaved; new words make the input
worth mutating further. Raises Wrong, or whatever nobody expects."""

Mutate: TypeAlias = Callable[[bytes, bytes, Random], bytes]
"""(input, another input, chance) -> an input like the first."""


class Wrong(Exception):
    """The target did what it must never do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A door."""

    name: str
    seeds: Callable[[], list[bytes]]
    """Valid inputs to begin with."""
    mutate: Mutate
    open: Callable[[], AbstractAsyncContextManager[Try]]
    weight: int
    """Its part of all inputs, in relation to others'."""
    seconds: float = 5.0
    """An input that takes longer hangs."""

    def known(self) -> list[bytes]:
        """What was found in earlier runs, oldest names first."""
        return [path.read_bytes() for path in sorted((SEEDS / self.name).glob("*"))]


def must(holds: bool, words: str) -> None:
    """Raises Wrong."""
    if not holds:
        raise Wrong(words)


_LEAKS = re.compile(
    r"\b0x[0-9a-f]{6}|/(usr|home|root|work|tmp|proc|etc)/(?!passwd)|Traceback|\.py\b"
)


def check_words(words: str, given: str) -> str:
    """Words for a client: short, and of our own but for what it gave. Their kind, as a signature.

    Raises Wrong.
    """
    must(len(words) < 1500, f"{len(words)} characters of words")
    leak = _LEAKS.search(words)
    must(leak is None or leak[0] in given, f"insides are told: {words}")
    return re.sub(r"[^A-Za-z`_ ]+", "#", words.partition("iven:")[0])[:60]
