"""The router's flags: what the `inlay serve` command takes and hands to the router process."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inlay_router.config import RouterConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One flag that sets one field of RouterConfig."""

    name: str
    """As typed, without the dashes."""
    field: str
    """Of RouterConfig."""
    help: str
    type: Callable[[str], Any] = int
    metavar: str = "N"


FLAGS = (
    Flag(name="host", field="host", help="address to listen on", type=str, metavar="HOST"),
    Flag(name="port", field="port", help="port to listen on; 0 takes a free one"),
    Flag(
        name="max-concurrent-requests",
        field="max_concurrent_requests",
        help="generations in flight, waiting ones included; above it 429",
    ),
    Flag(name="max-best-of", field="max_best_of", help="largest best_of"),
    Flag(name="max-stop-sequences", field="max_stop_sequences", help="most strings in stop"),
    Flag(name="max-top-n-tokens", field="max_top_n_tokens", help="largest top_n_tokens"),
    Flag(name="max-input-tokens", field="max_input_tokens", help="longest prompt, in tokens"),
    Flag(
        name="max-total-tokens",
        field="max_total_tokens",
        help="longest prompt and answer together, in tokens",
    ),
    Flag(
        name="max-batch-prefill-tokens",
        field="max_batch_prefill_tokens",
        help="prompt tokens that one step computes",
    ),
    Flag(name="max-batch-size", field="max_batch_size", help="sequences that run at a time"),
    Flag(name="payload-limit", field="payload_limit", help="bytes of a request body"),
    Flag(name="max-image-bytes", field="max_image_bytes", help="bytes of one encoded image"),
    Flag(name="max-image-pixels", field="max_image_pixels", help="width x height of one image"),
    Flag(name="max-images", field="max_images", help="images in one prompt"),
    Flag(
        name="image-timeout",
        field="image_timeout",
        help="seconds to fetch one image",
        type=float,
        metavar="S",
    ),
    Flag(
        name="grammar-timeout",
        field="grammar_timeout",
        help="seconds to compile one grammar",
        type=float,
        metavar="S",
    ),
    Flag(
        name="graceful-timeout",
        field="graceful_timeout",
        help="seconds that running answers get to end after SIGTERM",
        type=float,
        metavar="S",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every flag that an operator may set, with the default of RouterConfig."""
    group = parser.add_argument_group("HTTP and limits")
    defaults = RouterConfig(shard_addresses=())
    for flag in FLAGS:
        default = getattr(defaults, flag.field)
        group.add_argument(
            f"--{flag.name}",
            dest=flag.field,
            type=flag.type,
            metavar=flag.metavar,
            default=default,
            help=f"{flag.help} ({'from the model' if default is None else default})",
        )
    group.add_argument(
        "--allow-private-images",
        dest="has_private_images",
        action="store_true",
        help="fetch images from private addresses too; for development only",
    )
    group.add_argument(
        "--disable-grammar-support",
        dest="has_grammars",
        action="store_false",
        help="refuse requests that carry a grammar",
    )
    group.add_argument(
        "--cors-allow-origin",
        dest="cors_allow_origins",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin that browsers may call from; repeatable (any)",
    )


def config_from(options: argparse.Namespace, **fixed: Any) -> RouterConfig:
    """The settings that `add_arguments` parsed, and `fixed` fields beside them."""
    chosen = {flag.field: getattr(options, flag.field) for flag in FLAGS}
    return RouterConfig(
        **chosen,
        has_private_images=options.has_private_images,
        has_grammars=options.has_grammars,
        cors_allow_origins=tuple(options.cors_allow_origins),
        **fixed,
    )


def to_command_line(options: argparse.Namespace) -> list[str]:
    """What `add_arguments` parsed, written as flags again."""
    words = []
    for flag in FLAGS:
        value = getattr(options, flag.field)
        if value is not None:
            words += [f"--{flag.name}", str(value)]
    if options.has_private_images:
        words.append("--allow-private-images")
    if not options.has_grammars:
        words.append("--disable-grammar-support")
    for origin in options.cors_allow_origins:
        words += ["--cors-allow-origin", origin]
    return words
