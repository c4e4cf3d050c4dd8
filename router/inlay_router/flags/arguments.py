"""The router's flags: what the `inlay serve` command takes and hands to the router process."""

import argparse
from typing import Any

from inlay_router.config import RouterConfig
from inlay_router.flags.flag import Flag
from inlay_router.flags.grammar_flags import GRAMMARS
from inlay_router.flags.http_flags import HTTP
from inlay_router.flags.image_flags import IMAGES
from inlay_router.flags.key_flags import KEYS
from inlay_router.flags.load_flags import BATCHING, REQUESTS

_GROUPS = (HTTP, KEYS, REQUESTS, BATCHING, IMAGES, GRAMMARS)
_FLAGS = tuple(flag for group in _GROUPS for flag in group.flags)
_SWITCHES = tuple(switch for group in _GROUPS for switch in group.switches)


def add_arguments(parser: argparse.ArgumentParser) -> dict[str, argparse._ArgumentGroup]:
    """Every flag that an operator may set, with the default of RouterConfig; their groups by
    title."""
    defaults = RouterConfig(shard_addresses=())
    headings = {group.title: parser.add_argument_group(group.title) for group in _GROUPS}
    for group in _GROUPS:
        heading = headings[group.title]
        for flag in group.flags:
            _add_flag(heading, flag, getattr(defaults, flag.field))
        for switch in group.switches:
            heading.add_argument(
                f"--{switch.name}",
                dest=switch.field,
                action="store_true" if switch.value else "store_false",
                help=switch.help,
            )
    return headings


def _add_flag(group: argparse._ArgumentGroup, flag: Flag, default: Any) -> None:
    in_words = flag.absent if default in (None, ()) else default
    group.add_argument(
        f"--{flag.name}",
        *(f"--{alias}" for alias in flag.aliases),
        *(["-p"] if flag.name == "port" else []),
        dest=flag.field,
        action="append" if flag.is_repeatable else "store",
        type=flag.kind.parse,
        metavar=flag.kind.metavar,
        default=[] if flag.is_repeatable else default,
        help=f"{flag.help}{'; repeatable' if flag.is_repeatable else ''} ({in_words})",
    )


def config_from(options: argparse.Namespace, **fixed: Any) -> RouterConfig:
    """The settings that `add_arguments` parsed, and `fixed` fields beside them."""
    fields = [*(flag.field for flag in _FLAGS), *(switch.field for switch in _SWITCHES)]
    chosen = {field: getattr(options, field) for field in fields}
    for flag in _FLAGS:
        if flag.is_repeatable:
            chosen[flag.field] = tuple(chosen[flag.field])
    return RouterConfig(**chosen, **fixed)


def to_command_line(options: argparse.Namespace) -> list[str]:
    """What `add_arguments` parsed, written as flags again."""
    words = []
    for flag in _FLAGS:
        value = getattr(options, flag.field)
        values = value if flag.is_repeatable else [value]
        words += [word for v in values if v is not None for word in (f"--{flag.name}", str(v))]
    for switch in _SWITCHES:
        if getattr(options, switch.field) == switch.value:
            words.append(f"--{switch.name}")
    return words
