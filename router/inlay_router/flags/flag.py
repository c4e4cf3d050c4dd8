"""What a flag of the router is."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from inlay_router.flags import numbers


@dataclass(frozen=True, slots=True)
class Kind:
    """What stands behind a flag."""

    parse: Callable[[str], Any]
    metavar: str
    """What help calls it."""


NUMBER = Kind(numbers.positive, "N")
COUNT = Kind(numbers.count, "N")
"""A number, of which none is a choice too."""
SECONDS = Kind(numbers.seconds, "S")
PATIENCE = Kind(numbers.patience, "S")
"""Seconds, of which none is a choice too."""
FILE = Kind(Path, "FILE")


def text(metavar: str) -> Kind:
    """Any words."""
    return Kind(str, metavar)


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag that sets one field of RouterConfig."""

    name: str
    """As typed, without the dashes."""
    help: str
    kind: Kind = NUMBER
    _: KW_ONLY
    aliases: tuple[str, ...] = ()
    """Other names, as TGI's launcher has them."""
    absent: str = "from the model"
    """What happens without it, where RouterConfig has no default."""
    is_repeatable: bool = False
    """Whether the field is a tuple, to which each use of the flag adds one value."""
    plural: str | None = None
    """The field, where it is not called like the flag."""

    @property
    def field(self) -> str:
        """Of RouterConfig."""
        return self.plural or self.name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Switch:
    """One flag without a value, which sets one field of RouterConfig to `value`."""

    name: str
    help: str
    field: str
    value: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """Flags that stand together under a heading."""

    title: str
    flags: tuple[Flag, ...]
    switches: tuple[Switch, ...] = ()
