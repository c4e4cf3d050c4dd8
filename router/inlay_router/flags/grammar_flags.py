"""The flags that say how grammars are compiled."""

import importlib.util
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

from inlay_grammars.options import BackendChoice, Whitespace, backend_choice, whitespace_named
from inlay_router.flags.flag import Flag

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


GRAMMAR_FLAGS = (
    Flag(
        name="grammar-backend",
        field="grammar_backend",
        group="images and grammars",
        help="auto, llguidance, xgrammar or outlines_core; llguidance takes over what another one "
        "refuses or would not enforce",
        type=backend,
        metavar="NAME",
    ),
    Flag(
        name="grammar-whitespace",
        field="grammar_whitespace",
        group="images and grammars",
        help="between JSON tokens: compact (none), pretty (`: ` and `, `) or flexible (up to eight "
        "characters anywhere)",
        type=whitespace,
        metavar="STYLE",
    ),
)
