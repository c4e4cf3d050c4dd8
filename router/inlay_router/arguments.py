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
    group: str
    """Heading that it stands under."""
    aliases: tuple[str, ...] = ()
    """Other names, as TGI's launcher has them."""
    type: Callable[[str], Any] = int
    metavar: str = "N"
    absent: str = "from the model"
    """What happens without it, where RouterConfig has no default."""


FLAGS = (
    Flag(
        name="host",
        aliases=("hostname",),
        field="host",
        group="HTTP",
        help="address to listen on",
        type=str,
        metavar="HOST",
    ),
    Flag(name="port", field="port", group="HTTP", help="port to listen on; 0 takes a free one"),
    Flag(name="payload-limit", field="payload_limit", group="HTTP", help="bytes of a request body"),
    Flag(
        name="graceful-timeout",
        aliases=("graceful-termination-timeout",),
        field="graceful_timeout",
        group="HTTP",
        help="seconds that running answers get to end after SIGTERM",
        type=float,
        metavar="S",
    ),
    Flag(
        name="otlp-endpoint",
        field="otlp_endpoint",
        group="HTTP",
        help="URL of a collector of traces, OTLP over HTTP",
        type=str,
        metavar="URL",
        absent="none",
    ),
    Flag(
        name="otlp-service-name",
        field="otlp_service_name",
        group="HTTP",
        help="what traces call this server",
        type=str,
        metavar="NAME",
    ),
    Flag(
        name="max-concurrent-requests",
        field="max_concurrent_requests",
        group="limits of a request",
        help="generations in flight, waiting ones included; above it 429",
    ),
    Flag(
        name="max-input-tokens",
        aliases=("max-input-length",),
        field="max_input_tokens",
        group="limits of a request",
        help="longest prompt, in tokens",
    ),
    Flag(
        name="max-total-tokens",
        field="max_total_tokens",
        group="limits of a request",
        help="longest prompt and answer together, in tokens",
    ),
    Flag(
        name="max-best-of",
        field="max_best_of",
        group="limits of a request",
        help="largest best_of, and n",
    ),
    Flag(
        name="max-stop-sequences",
        field="max_stop_sequences",
        group="limits of a request",
        help="most strings in stop",
    ),
    Flag(
        name="max-top-n-tokens",
        field="max_top_n_tokens",
        group="limits of a request",
        help="largest top_n_tokens, and logprobs",
    ),
    Flag(
        name="max-client-batch-size",
        field="max_client_batch_size",
        group="limits of a request",
        help="prompts in one call of /v1/completions",
    ),
    Flag(
        name="max-batch-prefill-tokens",
        field="max_batch_prefill_tokens",
        group="batching",
        help="prompt tokens that one step computes at most",
    ),
    Flag(
        name="max-batch-size",
        field="max_batch_size",
        group="batching",
        help="sequences that run at a time",
    ),
    Flag(
        name="step-timeout",
        field="step_timeout",
        group="batching",
        help="seconds of one step after which a shard counts as hung",
        type=float,
        metavar="S",
    ),
    Flag(
        name="max-images",
        field="max_images",
        group="images and grammars",
        help="images in one prompt",
    ),
    Flag(
        name="max-image-bytes",
        aliases=("max-image-fetch-size",),
        field="max_image_bytes",
        group="images and grammars",
        help="bytes of one encoded image",
    ),
    Flag(
        name="max-image-pixels",
        field="max_image_pixels",
        group="images and grammars",
        help="width x height of one image",
    ),
    Flag(
        name="image-timeout",
        field="image_timeout",
        group="images and grammars",
        help="seconds to fetch one image",
        type=float,
        metavar="S",
    ),
    Flag(
        name="grammar-timeout",
        field="grammar_timeout",
        group="images and grammars",
        help="seconds to compile one grammar",
        type=float,
        metavar="S",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every flag that an operator may set, with the default of RouterConfig."""
    groups = {name: parser.add_argument_group(name) for name in dict.fromkeys(_groups())}
    defaults = RouterConfig(shard_addresses=())
    for flag in FLAGS:
        default = getattr(defaults, flag.field)
        groups[flag.group].add_argument(
            f"--{flag.name}",
            *(f"--{alias}" for alias in flag.aliases),
            *(["-p"] if flag.name == "port" else []),
            dest=flag.field,
            type=flag.type,
            metavar=flag.metavar,
            default=default,
            help=f"{flag.help} ({flag.absent if default is None else default})",
        )
    _add_switches(groups["HTTP"], groups["batching"], groups["images and grammars"])


def _groups() -> list[str]:
    return [flag.group for flag in FLAGS]


def _add_switches(
    http: argparse._ArgumentGroup,
    batching: argparse._ArgumentGroup,
    content: argparse._ArgumentGroup,
) -> None:
    """Flags that are not one value each."""
    http.add_argument(
        "--cors-allow-origin",
        dest="cors_allow_origins",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin that browsers may call from; repeatable (any)",
    )
    http.add_argument(
        "--json-output",
        dest="has_json_logs",
        action="store_true",
        help="write log lines as JSON objects",
    )
    batching.add_argument(
        "--no-prefix-cache",
        dest="has_prefix_cache",
        action="store_false",
        help="compute every prompt anew, also one that begins like an earlier one",
    )
    content.add_argument(
        "--allow-private-images",
        dest="has_private_images",
        action="store_true",
        help="fetch images from private addresses too; for development only",
    )
    content.add_argument(
        "--chat-markdown-images",
        dest="has_chat_markdown_images",
        action="store_true",
        help="take ![](url) in the text of a chat for an image, as TGI does",
    )
    content.add_argument(
        "--disable-grammar-support",
        dest="has_grammars",
        action="store_false",
        help="refuse requests that carry a grammar",
    )


def config_from(options: argparse.Namespace, **fixed: Any) -> RouterConfig:
    """The settings that `add_arguments` parsed, and `fixed` fields beside them."""
    chosen = {flag.field: getattr(options, flag.field) for flag in FLAGS}
    return RouterConfig(
        **chosen,
        has_prefix_cache=options.has_prefix_cache,
        has_private_images=options.has_private_images,
        has_chat_markdown_images=options.has_chat_markdown_images,
        has_grammars=options.has_grammars,
        has_json_logs=options.has_json_logs,
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
    if not options.has_prefix_cache:
        words.append("--no-prefix-cache")
    if options.has_private_images:
        words.append("--allow-private-images")
    if options.has_chat_markdown_images:
        words.append("--chat-markdown-images")
    if not options.has_grammars:
        words.append("--disable-grammar-support")
    if options.has_json_logs:
        words.append("--json-output")
    for origin in options.cors_allow_origins:
        words += ["--cors-allow-origin", origin]
    return words
