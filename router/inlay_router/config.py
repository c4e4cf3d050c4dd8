"""What the operator chose: the router's settings, and the limits that follow from the model."""

from dataclasses import dataclass, field
from pathlib import Path

from inlay_grammars.options import BackendChoice, Whitespace
from inlay_proto import generate_pb2 as pb
from inlay_proto.transport import TlsFiles
from inlay_router.images.addresses import Network


class ConfigError(Exception):
    """The settings contradict each other or the model; the words are for the operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterConfig:
    """Settings of one router process; the flags of `python -m inlay_router` bear the same names."""

    shard_addresses: tuple[str, ...]
    """One gRPC address a rank, in the order of the ranks."""
    shard_tls: TlsFiles | None = None
    """What is shown to shards and asked of them; None for socket files and loopback."""
    host: str = "127.0.0.1"
    """Address or name to listen on."""
    port: int = 3000
    """TCP port to listen on; 0 lets the system choose."""
    max_concurrent_requests: int = 128
    """Generations in flight, waiting ones included; one more is answered with 429. An eighth of
    that comes on top for clients that hold less than others."""
    max_queue_tokens: int | None = None
    """Prompt tokens that may wait; a request that would make them more is answered with 429. None
    for as many as `max_concurrent_requests` prompts have."""
    max_body_bytes: int = 1024 * 1024 * 1024
    """Bytes of the bodies of all requests that are being read or answered; above it 429."""
    max_time: float | None = None
    """Seconds that a request may take from receipt to its last byte; None for as long as it
    takes. Requests may ask for less with `max_time`."""
    max_best_of: int = 2
    """Largest `best_of`."""
    max_stop_sequences: int = 4
    """Most strings in `stop`."""
    max_top_n_tokens: int = 5
    """Largest `top_n_tokens`."""
    max_client_batch_size: int = 4
    """Most prompts in one call of `/v1/completions`."""
    max_input_tokens: int | None = None
    """Longest prompt in tokens; None for one less than `max_total_tokens`."""
    max_total_tokens: int | None = None
    """Longest prompt and answer together; None for what the model and its KV pool hold."""
    max_batch_prefill_tokens: int | None = None
    """Prompt tokens that one step computes at most; beside running streams it computes as many as
    they can bear. None for what suits the device: 512 on a CPU, 4,096 on a GPU."""
    max_batch_size: int = 128
    """Sequences that run at a time."""
    has_prefix_cache: bool = True
    """Whether what was computed for a prompt or an answer serves later prompts that begin with it,
    images included."""
    payload_limit: int = 32 * 1024 * 1024
    """Bytes of a request body; a longer one is answered with 413."""
    max_image_bytes: int = 32 * 1024 * 1024
    """Bytes of one encoded image."""
    max_image_pixels: int = 64 * 1024 * 1024
    """Width times height of one image, read from its header before it is decoded."""
    max_images: int = 16
    """Images in one prompt."""
    max_total_image_bytes: int = 64 * 1024 * 1024
    """Bytes of all encoded images of one prompt together."""
    max_total_image_pixels: int = 256 * 1024 * 1024
    """Pixels of all images of one prompt together."""
    image_timeout: float = 5.0
    """Seconds to fetch one image, from name resolution to its last byte, redirects included."""
    has_private_images: bool = False
    """Whether images may come from private addresses. For development only: it lets any client
    read from the networks that this machine can reach."""
    allowed_image_hosts: tuple[str, ...] = ()
    """Names that images may come from; `.example.org` stands for all below it. Empty for any."""
    allowed_image_networks: tuple[Network, ...] = ()
    """Private networks that images may come from too, such as 10.1.0.0/16."""
    allowed_local_images: Path | None = None
    """Folder that `file:` URLs may read images from; None for no such URLs."""
    has_image_embeds: bool = False
    """Whether prompts may carry embeddings in an image's stead."""
    has_plain_prompts: bool = False
    """Whether special tokens in `inputs` and `prompt` are text, as in a chat; placeholders of
    images always are."""
    has_chat_markdown_images: bool = False
    """Whether `![](…)` in the text of a chat is an image, as for TGI, instead of text."""
    grammar_timeout: float = 5.0
    """Seconds to compile one grammar."""
    grammar_backend: BackendChoice = "auto"
    """Backend of Outlines' that is asked first to compile a grammar."""
    grammar_whitespace: Whitespace = "flexible"
    """Between JSON tokens of an answer."""
    has_grammars: bool = True
    """Whether requests may carry a grammar."""
    finishes_in_budget: bool = True
    """Whether answers that a grammar constrains are made to be complete within `max_new_tokens`,
    and requests refused whose budget is too small for that."""
    forces_tokens: bool = True
    """Whether tokens that a grammar forces are computed together with the one before them."""
    api_key: str | None = field(default=None, repr=False)
    """What clients must show as `Authorization: Bearer …`; without keys everybody gets in."""
    api_key_file: Path | None = None
    """File of more such keys, one a line, read again when it changes."""
    tls_cert: Path | None = None
    """PEM file of the certificate chain for HTTPS, read again when it changes; None for HTTP."""
    tls_key: Path | None = None
    """PEM file of its key."""
    max_connections: int = 4096
    """Connections of clients at a time; on one more, calls are answered with 429."""
    keep_alive_timeout: float = 75.0
    """Seconds that a connection may stay open between two calls. More than the 60 of the usual
    proxies, which would send a call along a connection that is being closed otherwise."""
    has_json_logs: bool = False
    """Whether log lines are JSON objects."""
    otlp_endpoint: str | None = None
    """URL of a collector of traces, OTLP over HTTP; None sends none."""
    otlp_service_name: str = "text-generation-inference.router"
    """What traces call this server."""
    cors_allow_origins: tuple[str, ...] = ()
    """Origins that browsers may call from; empty for any."""
    step_timeout: float = 120.0
    """Seconds that a shard may take for one step, or for saying that it lives, before it counts as
    hung and is ended; more where steps were seen to take longer."""
    graceful_timeout: float = 90.0
    """Seconds that running answers get to end after SIGTERM."""
    exits_with_parent: bool = False
    """Whether the process ends when its standard input reaches its end."""

    @property
    def asks_for_key(self) -> bool:
        """Whether clients must show a key."""
        return self.api_key is not None or self.api_key_file is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a request may ask for: the operator's word where there is one, else the model's."""

    max_best_of: int = 2
    max_stop_sequences: int = 4
    max_top_n_tokens: int = 5
    max_client_batch_size: int = 4
    max_input_tokens: int
    """Longest prompt; at least 1 and less than `max_total_tokens`."""
    max_total_tokens: int
    """Prompt and answer together."""
    vocab_size: int = 1 << 31
    """Token ids are below."""
    max_images: int = 16
    takes_images: bool = False
    """Whether markdown images in a prompt are images, or plain text."""
    has_grammars: bool = True
    grammar_backend: BackendChoice = "auto"
    grammar_whitespace: Whitespace = "flexible"
    finishes_in_budget: bool = True

    @classmethod
    def of(cls, config: RouterConfig, facts: pb.ModelFacts) -> "Limits":
        """Raises ConfigError when the operator's limits do not fit the model."""
        max_total_tokens = _max_total_tokens(config, facts)
        max_input_tokens = config.max_input_tokens or max_total_tokens - 1
        _check_room(max_input_tokens, max_total_tokens)
        return cls(
            max_best_of=config.max_best_of,
            max_stop_sequences=config.max_stop_sequences,
            max_top_n_tokens=config.max_top_n_tokens,
            max_client_batch_size=config.max_client_batch_size,
            max_input_tokens=max_input_tokens,
            max_total_tokens=max_total_tokens,
            vocab_size=facts.vocab_size,
            max_images=config.max_images,
            takes_images=facts.takes_images,
            has_grammars=config.has_grammars,
            grammar_backend=config.grammar_backend,
            grammar_whitespace=config.grammar_whitespace,
            finishes_in_budget=config.finishes_in_budget,
        )


def check(config: RouterConfig) -> None:
    """Refuse what is wrong whatever the model is. Raises ConfigError."""
    most, longest = config.max_total_tokens, config.max_input_tokens
    if most is not None and longest is not None:
        _check_room(longest, most)
    folder = config.allowed_local_images
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--allowed-local-images: there is no folder {folder}")
    collector = config.otlp_endpoint
    if collector is not None and not collector.startswith(("http://", "https://")):
        raise ConfigError(
            f"--otlp-endpoint must begin with http:// or https://. Given: {collector}"
        )


def _check_room(max_input_tokens: int, max_total_tokens: int) -> None:
    if not 0 < max_input_tokens < max_total_tokens:
        raise ConfigError(
            f"--max-input-tokens must be at least 1 and less than --max-total-tokens "
            f"({max_total_tokens}). Given: {max_input_tokens}"
        )


def _max_total_tokens(config: RouterConfig, facts: pb.ModelFacts) -> int:
    pool = facts.num_blocks * facts.block_size
    possible = min(pool, facts.max_position_embeddings or pool)
    wanted = config.max_total_tokens or possible
    if wanted > possible:
        raise ConfigError(
            f"--max-total-tokens must be <= {possible}: the model has "
            f"{facts.max_position_embeddings or 'unlimited'} positions and its KV pool holds "
            f"{pool} tokens. Given: {wanted}"
        )
    return wanted
