"""The flags that say how grammars are compiled."""

import importlib.util
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

from inlay_grammars.options import BackendChoice, Whitespace, backend_choice, whitespace_named
from inlay_router.flags.flag import PATIENCE, Flag, Group, Kind, Switch

T = TypeVar("T")


def _argument(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def backend(text: str) -> BackendChoice:
    """A backend that is installed."""
    choice = _argument(backend_choice, text)
    if choice == "xgrammar" and importlib.util.find_spec("xgrammar") is None:
        raise ArgumentTypeError("xgrammar is not installed: pip install 'inlay[xgrammar]'")
    return choice


def whitespace(text: str) -> Whitespace:
    """Of JSON answers."""
    return _argument(whitespace_named, text)


GRAMMARS = Group(
    "grammars",
    (
        Flag("grammar-timeout", "seconds to compile one grammar", PATIENCE),
        Flag(
            "grammar-backend",
            "auto, llguidance, xgrammar or outlines_core; llguidance takes over what another one "
            "refuses or would not enforce",
            Kind(backend, "NAME"),
        ),
        Flag(
            "grammar-whitespace",
            "between JSON tokens: compact (none), pretty (`: ` and `, `) or flexible (up to eight "
            "characters anywhere)",
            Kind(whitespace, "STYLE"),
        ),
    ),
    (
        Switch(
            "disable-grammar-support",
            "refuse requests that carry a grammar",
            "has_grammars",
            value=False,
        ),
        Switch(
            "no-finish-in-budget",
            "cut answers that a grammar constrains off at max_new_tokens, complete or not",
            "finishes_in_budget",
            value=False,
        ),
        Switch(
            "no-forced-tokens",
            "give a step of its own to each token that a grammar forces",
            "forces_tokens",
            value=False,
        ),
    ),
)
