"""The command lines of the smaller benches: each is a dataclass of settings that many share."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from inlay_bench.options import count, counts

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class _Flag:
    """How one setting is called, read and explained."""

    name: str
    parse: Callable[[str], Any]
    metavar: str
    help: str


_FLAGS = {
    "stream_counts": _Flag("--streams", counts, "N,…", "streams at a time"),
    "batch_sizes": _Flag("--batches", counts, "N,…", "prompts of a call"),
    "worker_counts": _Flag("--workers", counts, "N,…", "image workers"),
    "num_rounds": _Flag("--rounds", count, "N", "measured rounds at most"),
    "minutes": _Flag("--minutes", float, "M", "after which no further round begins"),
    "seconds": _Flag("--seconds", float, "S", "of each phase of a round"),
    "num_streams": _Flag("--streams", count, "N", "running streams"),
    "num_clients": _Flag("--clients", count, "N", "clients beside them"),
    "num_threads": _Flag("--threads", count, "N", "threads that compute"),
    "max_tokens": _Flag("--max-tokens", count, "N", "of the longest answer"),
    "folder": _Flag("--folder", Path, "FOLDER", "for results and logs"),
}
"""By the field that a flag sets."""


def read_options(
    kind: type[Options],
    module: str,
    description: str,
    argv: Sequence[str] | None,
    **quick: object,
) -> Options:
    """A `kind`, whose fields have defaults, from a command line.

    `--quick` only changes what is not given beside it: to the values in `quick`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    settings: tuple[Field[Any], ...] = fields(kind)  # type: ignore[arg-type]
    for setting in settings:
        assert setting.default is not MISSING
        flag = _FLAGS[setting.name]
        words = f"{flag.help} ({_in_words(setting.default)})"
        parser.add_argument(
            flag.name, dest=setting.name, type=flag.parse, metavar=flag.metavar, help=words
        )
    parser.add_argument("--quick", action="store_true", help="a first look")
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value}
    chosen = quick if given.pop("quick", False) else {}
    return kind(**{**chosen, **given})


def _in_words(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
