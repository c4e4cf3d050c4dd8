"""What the operator chose: the router's settings, and the limits that follow from the model."""

from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb


class ConfigError(Exception):
    """The settings contradict each other or the model; the words are for the operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterConfig:
    """Settings of one router process; the flags of `python -m inlay_router` bear the same names."""

    shard_addresses: tuple[str, ...]
    """One gRPC address a rank, in the order of the ranks."""
    host: str = "127.0.0.1"
    """Address or name to listen on."""
    port: int = 3000
    """TCP port to listen on; 0 lets the system choose."""
    max_concurrent_requests: int = 128
    """Generations in flight, waiting ones included; one more is answered with 429."""
    max_best_of: int = 2
    """Largest `best_of`."""
    max_stop_sequences: int = 4
    """Most strings in `stop`."""
    max_top_n_tokens: int = 5
    """Largest `top_n_tokens`."""
    max_input_tokens: int | None = None
    """Longest prompt in tokens; None for one less than `max_total_tokens`."""
    max_total_tokens: int | None = None
    """Longest prompt and answer together; None for what the model and its KV pool hold."""
    max_batch_prefill_tokens: int = 512
    """Prompt tokens that one step computes. A CPU is busy with 512 for most of a second, in which
    running streams wait; a GPU takes several thousand in the time of a few decode steps."""
    max_batch_size: int = 128
    """Sequences that run at a time."""
    payload_limit: int = 32 * 1024 * 1024
    """Bytes of a request body; a longer one is answered with 413."""
    max_image_bytes: int = 32 * 1024 * 1024
    """Bytes of one encoded image."""
    max_image_pixels: int = 64 * 1024 * 1024
    """Width times height of one image, read from its header before it is decoded."""
    max_images: int = 16
    """Images in one prompt."""
    image_timeout: float = 5.0
    """Seconds to fetch one image, from name resolution to its last byte, redirects included."""
    has_private_images: bool = False
    """Whether images may come from private addresses. For development only: it lets any client
    read from the networks that this machine can reach."""
    grammar_timeout: float = 5.0
    """Seconds to compile one grammar."""
    has_grammars: bool = True
    """Whether requests may carry a grammar."""
    cors_allow_origins: tuple[str, ...] = ()
    """Origins that browsers may call from; empty for any."""
    graceful_timeout: float = 90.0
    """Seconds that running answers get to end after SIGTERM."""
    exits_with_parent: bool = False
    """Whether the process ends when its standard input reaches its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a request may ask for: the operator's word where there is one, else the model's."""

    max_best_of: int = 2
    max_stop_sequences: int = 4
    max_top_n_tokens: int = 5
    max_input_tokens: int
    """Longest prompt; at least 1 and less than `max_total_tokens`."""
    max_total_tokens: int
    """Prompt and answer together."""
    max_images: int = 16
    takes_images: bool = False
    """Whether markdown images in a prompt are images, or plain text."""
    has_grammars: bool = True

    @classmethod
    def of(cls, config: RouterConfig, facts: pb.ModelFacts) -> "Limits":
        """Raises ConfigError when the operator's limits do not fit the model."""
        max_total_tokens = _max_total_tokens(config, facts)
        max_input_tokens = config.max_input_tokens or max_total_tokens - 1
        if not 0 < max_input_tokens < max_total_tokens:
            raise ConfigError(
                f"--max-input-tokens must be at least 1 and less than --max-total-tokens "
                f"({max_total_tokens}). Given: {max_input_tokens}"
            )
        return cls(
            max_best_of=config.max_best_of,
            max_stop_sequences=config.max_stop_sequences,
            max_top_n_tokens=config.max_top_n_tokens,
            max_input_tokens=max_input_tokens,
            max_total_tokens=max_total_tokens,
            max_images=config.max_images,
            takes_images=facts.takes_images,
            has_grammars=config.has_grammars,
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
