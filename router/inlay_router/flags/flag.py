"""What a flag of the router is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One flag that sets one field of RouterConfig."""

    name: str
    """As typed, without the dashes."""
    field: str
    """Of RouterConfig."""
    help: str
    group: str
    """Heading that it stands under."""
    aliases: tuple[str, ...] = ()
    """Other names, as TGI's launcher has them."""
    type: Callable[[str], Any] = int
    metavar: str = "N"
    absent: str = "from the model"
    """What happens without it, where RouterConfig has no default."""
    is_repeatable: bool = False
    """Whether the field is a tuple, to which each use of the flag adds one value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """One flag without a value, which sets one field of RouterConfig to `value`."""

    name: str
    field: str
    help: str
    group: str
    value: bool = True
