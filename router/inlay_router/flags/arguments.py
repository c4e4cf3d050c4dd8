"""The router's flags: what the `inlay serve` command takes and hands to the router process."""

import argparse
from typing import Any

from inlay_router.config import RouterConfig
from inlay_router.flags.door_flags import DOOR_FLAGS
from inlay_router.flags.flag import Flag, Switch
from inlay_router.flags.grammar_flags import GRAMMAR_FLAGS
from inlay_router.flags.load_flags import LOAD_FLAGS

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
        aliases=("graceful-termination-timeout", "drain-timeout"),
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
        name="grammar-timeout",
        field="grammar_timeout",
        group="images and grammars",
        help="seconds to compile one grammar",
        type=float,
        metavar="S",
    ),
    Flag(
        name="cors-allow-origin",
        field="cors_allow_origins",
        group="HTTP",
        help="origin that browsers may call from",
        type=str,
        metavar="ORIGIN",
        absent="any",
        is_repeatable=True,
    ),
    *DOOR_FLAGS,
    *LOAD_FLAGS,
    *GRAMMAR_FLAGS,
)

SWITCHES = (
    Switch(
        name="json-output",
        field="has_json_logs",
        group="HTTP",
        help="write log lines as JSON objects",
    ),
    Switch(
        name="no-prefix-cache",
        field="has_prefix_cache",
        value=False,
        group="batching",
        help="compute every prompt anew, also one that begins like an earlier one",
    ),
    Switch(
        name="allow-private-images",
        field="has_private_images",
        group="images and grammars",
        help="fetch images from private addresses too; for development only",
    ),
    Switch(
        name="allow-image-embeds",
        field="has_image_embeds",
        group="images and grammars",
        help="take embeddings in an image's stead (docs/image-embeds.md)",
    ),
    Switch(
        name="chat-markdown-images",
        field="has_chat_markdown_images",
        group="images and grammars",
        help="take ![](url) in the text of a chat for an image, as TGI does",
    ),
    Switch(
        name="disable-grammar-support",
        field="has_grammars",
        value=False,
        group="images and grammars",
        help="refuse requests that carry a grammar",
    ),
    Switch(
        name="no-finish-in-budget",
        field="finishes_in_budget",
        value=False,
        group="images and grammars",
        help="cut answers that a grammar constrains off at max_new_tokens, complete or not",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every flag that an operator may set, with the default of RouterConfig."""
    names = dict.fromkeys(entry.group for entry in (*FLAGS, *SWITCHES))
    groups = {name: parser.add_argument_group(name) for name in names}
    defaults = RouterConfig(shard_addresses=())
    for flag in FLAGS:
        _add_flag(groups[flag.group], flag, getattr(defaults, flag.field))
    for switch in SWITCHES:
        groups[switch.group].add_argument(
            f"--{switch.name}",
            dest=switch.field,
            action="store_true" if switch.value else "store_false",
            help=switch.help,
        )


def _add_flag(group: argparse._ArgumentGroup, flag: Flag, default: Any) -> None:
    in_words = flag.absent if default in (None, ()) else default
    group.add_argument(
        f"--{flag.name}",
        *(f"--{alias}" for alias in flag.aliases),
        *(["-p"] if flag.name == "port" else []),
        dest=flag.field,
        action="append" if flag.is_repeatable else "store",
        type=flag.type,
        metavar=flag.metavar,
        default=[] if flag.is_repeatable else default,
        help=f"{flag.help}{'; repeatable' if flag.is_repeatable else ''} ({in_words})",
    )


def config_from(options: argparse.Namespace, **fixed: Any) -> RouterConfig:
    """The settings that `add_arguments` parsed, and `fixed` fields beside them."""
    chosen = {entry.field: getattr(options, entry.field) for entry in (*FLAGS, *SWITCHES)}
    for flag in FLAGS:
        if flag.is_repeatable:
            chosen[flag.field] = tuple(chosen[flag.field])
    return RouterConfig(**chosen, **fixed)


def to_command_line(options: argparse.Namespace) -> list[str]:
    """What `add_arguments` parsed, written as flags again."""
    words = []
    for flag in FLAGS:
        value = getattr(options, flag.field)
        values = value if flag.is_repeatable else [value]
        words += [word for v in values if v is not None for word in (f"--{flag.name}", str(v))]
    for switch in SWITCHES:
        if getattr(options, switch.field) == switch.value:
            words.append(f"--{switch.name}")
    return words
