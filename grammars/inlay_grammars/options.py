"""How grammars are compiled: what whoever runs a server chooses once."""

from typing import Literal

BackendName = Literal["llguidance", "xgrammar", "outlines_core"]
BackendChoice = Literal["auto", "llguidance", "xgrammar", "outlines_core"]
"""The backend that is asked first. `auto` is the best one for each kind of grammar. llguidance
takes over what another one refuses or would not enforce."""
Whitespace = Literal["compact", "pretty", "flexible"]
"""Between JSON tokens. `compact`: none. `pretty`: one space behind `:` and `,`, as Python's
`json.dumps` writes. `flexible`: up to eight characters wherever JSON allows them."""

BACKEND_CHOICES: tuple[BackendChoice, ...] = ("auto", "llguidance", "xgrammar", "outlines_core")
WHITESPACES: tuple[Whitespace, ...] = ("compact", "pretty", "flexible")


def backend_choice(name: str) -> BackendChoice:
    """The choice of this name; empty is `auto`. Raises ValueError if there is none."""
    return BACKEND_CHOICES[_index(name or "auto", BACKEND_CHOICES)]


def whitespace_named(name: str) -> Whitespace:
    """The whitespace of this name; empty is `flexible`. Raises ValueError if there is none."""
    return WHITESPACES[_index(name or "flexible", WHITESPACES)]


def _index(name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise ValueError(f"must be one of {', '.join(names)}. Given: {name}")
    return names.index(name)
