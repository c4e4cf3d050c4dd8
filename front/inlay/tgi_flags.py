"""What TGI's launcher took: its variables as flags, and its flags that have no meaning here."""

import argparse
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaningless:
    """A flag that is taken, said to be ignored, and ignored."""

    name: str
    """Without the dashes."""
    reason: str
    """Ends the line that says so."""
    has_value: bool = True


HONOURED = (
    "model-id",
    "revision",
    "num-shard",
    "dtype",
    "quantize",
    "cuda-graphs",
    "hostname",
    "port",
    "huggingface-hub-cache",
    "max-concurrent-requests",
    "max-best-of",
    "max-stop-sequences",
    "max-top-n-tokens",
    "max-input-tokens",
    "max-input-length",
    "max-total-tokens",
    "max-batch-prefill-tokens",
    "max-batch-total-tokens",
    "max-batch-size",
    "max-client-batch-size",
    "max-image-fetch-size",
    "payload-limit",
    "cors-allow-origin",
    "api-key",
    "otlp-endpoint",
    "otlp-service-name",
    "json-output",
    "disable-grammar-support",
    "graceful-termination-timeout",
)
"""TGI's flags that mean here what they meant there; the variables of their names set them too."""

_SWITCHES = frozenset({"json-output", "disable-grammar-support"})
"""Flags without a value."""

_TRUE = frozenset({"1", "true", "yes", "on"})

MEANINGLESS = (
    Meaningless(name="validation-workers", reason="prompts are read as they come"),
    Meaningless(name="sharded", reason="--num-shard alone says how many shards there are"),
    Meaningless(name="speculate", reason="tokens are not guessed ahead"),
    Meaningless(name="kv-cache-dtype", reason="the KV cache has the type of the model"),
    Meaningless(
        name="trust-remote-code",
        reason="code from a model repository is never run; --plugin runs code of yours",
        has_value=False,
    ),
    Meaningless(name="waiting-served-ratio", reason="running and new requests share every step"),
    Meaningless(name="max-waiting-tokens", reason="running and new requests share every step"),
    Meaningless(name="prometheus-port", reason="metrics are at /metrics of the one port"),
    Meaningless(name="shard-uds-path", reason="shards get sockets in a folder of their own"),
    Meaningless(name="master-addr", reason="shards of one machine find each other"),
    Meaningless(name="master-port", reason="shards take a free port"),
    Meaningless(name="weights-cache-override", reason="weights lie in the hub's cache"),
    Meaningless(
        name="disable-custom-kernels",
        reason="kernels are chosen by the device",
        has_value=False,
    ),
    Meaningless(name="cuda-memory-fraction", reason="--num-blocks sets the size of the KV pool"),
    Meaningless(name="rope-scaling", reason="the model's configuration says how positions scale"),
    Meaningless(name="rope-factor", reason="the model's configuration says how positions scale"),
    Meaningless(name="watermark-gamma", reason="half of the vocabulary is favoured"),
    Meaningless(name="watermark-delta", reason="favoured logits gain 2"),
    Meaningless(name="ngrok", reason="there is no tunnel", has_value=False),
    Meaningless(name="ngrok-authtoken", reason="there is no tunnel"),
    Meaningless(name="ngrok-edge", reason="there is no tunnel"),
    Meaningless(name="tokenizer-config-path", reason="the chat template is the model's own"),
    Meaningless(name="lora-adapters", reason="there are no adapters"),
    Meaningless(name="usage-stats", reason="nothing is ever reported to anybody"),
    Meaningless(
        name="enable-prefill-logprobs",
        reason="decoder_input_details always has log-probabilities",
        has_value=False,
    ),
)
"""TGI's other flags."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that have no meaning, without showing them."""
    for flag in MEANINGLESS:
        words = {"nargs": "?", "const": "true"} if flag.has_value else {"action": "store_true"}
        parser.add_argument(f"--{flag.name}", help=argparse.SUPPRESS, **words)  # type: ignore[arg-type]


def ignored(options: argparse.Namespace, environment: Mapping[str, str]) -> Iterator[str]:
    """A line for each flag or variable that is there and has no meaning."""
    for flag in MEANINGLESS:
        if getattr(options, flag.name.replace("-", "_")):
            yield f"--{flag.name} is ignored: {flag.reason}"
        elif environment.get(variable_of(flag.name)):
            yield f"{variable_of(flag.name)} is ignored: {flag.reason}"


def from_environment(environment: Mapping[str, str], typed: Sequence[str]) -> list[str]:
    """The variables that are set and mean something, as flags to be read before those `typed`,
    which win."""
    names = {word.partition("=")[0] for word in typed}
    words: list[str] = []
    for name in HONOURED:
        value = environment.get(variable_of(name), "")
        if f"--{name}" in names:
            continue
        if name == "hostname" and not _is_address(value):
            continue  # containers and shells set HOSTNAME to the name of the machine
        if name in _SWITCHES:
            words += [f"--{name}"] if value.lower() in _TRUE else []
        elif value:
            words.append(f"--{name}={value}")
    return words


def variable_of(name: str) -> str:
    """The environment variable of a flag."""
    return name.upper().replace("-", "_")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
