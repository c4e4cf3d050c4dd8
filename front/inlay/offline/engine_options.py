"""What a program may choose of an engine, as the settings of a router and of a shard."""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

from inlay import model_flags, serve
from inlay.model_folder import ModelFolder
from inlay_router.config import RouterConfig
from inlay_router.flags.arguments import config_from
from inlay_shard.config import ShardConfig, parse_arguments

_EVERY_REQUEST = 1 << 31
"""Of a limit that guards a server against its clients, and nobody here."""
_STEP_SECONDS_EMBEDDED = 7 * 24 * 3600.0
"""A step that hangs in this process cannot be ended, so there is no use in watching for it."""
_NOWHERE = "unix:"
"""The address of a shard that nobody connects to."""
_MAX_TOP_TOKENS = 20
"""Log-probabilities at a position."""
_MAX_IMAGE_BYTES = 1 << 30
"""A picture of a program's own, which may be uncompressed."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The choices for one engine. What is not here is as for `inlay serve`."""

    model: str | None = None
    """A folder or a hub id; None for the model that ships with inlay."""
    revision: str | None = None
    """Branch, tag or commit of a hub repository."""
    num_shards: int = 1
    """Processes that the model is split over; from 2 on each is a process of its own."""
    is_embedded: bool = True
    """Whether a single shard runs in this process, rather than in one of its own."""
    dtype: str = "auto"
    """`auto`, `float32`, `bfloat16` or `float16`."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    quantize: str | None = None
    """`int8`, or None."""
    has_graphs: bool = True
    """Whether decode steps come from CUDA graphs, where there is CUDA."""
    num_threads: int | None = None
    """CPU threads of a shard; None for the cores divided by the shards."""
    num_blocks: int | None = None
    """Blocks of the KV pool; None for what free memory allows."""
    block_size: int = 32
    """Tokens of a block."""
    max_total_tokens: int | None = None
    """Longest prompt and answer together; None for what the model and its KV pool hold."""
    max_batch_size: int = 128
    """Sequences that run at a time."""
    max_batch_prefill_tokens: int | None = None
    """Prompt tokens that one step computes at most; None for what suits the device."""
    has_prefix_cache: bool = True
    """Whether what was computed for a prompt serves later ones that begin with it."""
    max_images: int = 16
    """Images in one prompt."""
    num_image_workers: int | None = None
    """Processes that prepare images; None for a quarter of the cores."""
    max_batch_images: int = 8
    """Images that are embedded together."""
    has_private_images: bool = False
    """Whether images may be fetched from private addresses."""
    local_images: Path | None = None
    """Folder that `file:` URLs of images may read from; None for no such URLs."""
    plugins: tuple[str, ...] = ()
    """Modules, or paths of Python files, with code of model authors (docs/adding-a-model.md)."""
    chat_template: str | None = field(default=None, repr=False)
    """Jinja source to use instead of the model's own."""

    @property
    def runs_here(self) -> bool:
        """Whether the shard runs in this process."""
        return self.is_embedded and self.num_shards == 1

    def command_line(self) -> argparse.Namespace:
        """The same as the command line of `inlay serve` gives it. Raises ValueError."""
        parser = argparse.ArgumentParser(exit_on_error=False)
        serve.add_arguments(parser)
        words = [f"--plugin={plugin}" for plugin in self.plugins]
        for flag, value in self._flags().items():
            words += [] if value is None else [f"--{flag}={value}"]
        try:
            return parser.parse_args(words)
        except argparse.ArgumentError as error:
            raise ValueError(f"the engine cannot be as asked: {error}") from None

    def _flags(self) -> dict[str, str | int | None]:
        return {
            "num-shard": self.num_shards,
            "dtype": self.dtype,
            "device": self.device,
            "quantize": self.quantize,
            "cuda-graphs": None if self.has_graphs else "0",
            "num-threads": self.num_threads,
            "num-blocks": self.num_blocks,
            "block-size": self.block_size,
            "max-total-tokens": self.max_total_tokens,
            "max-batch-size": self.max_batch_size,
            "max-batch-prefill-tokens": self.max_batch_prefill_tokens,
            "max-images": self.max_images,
            "image-workers": self.num_image_workers,
            "max-batch-images": self.max_batch_images,
            "allowed-local-images": None if self.local_images is None else str(self.local_images),
        }

    def router_config(self, addresses: tuple[str, ...] = ()) -> RouterConfig:
        """Settings of the router; what guards a server against clients is off."""
        config = config_from(self.command_line(), shard_addresses=addresses)
        return replace(
            config,
            max_concurrent_requests=_EVERY_REQUEST,
            max_best_of=_EVERY_REQUEST,
            max_stop_sequences=_EVERY_REQUEST,
            max_top_n_tokens=_MAX_TOP_TOKENS,
            max_image_bytes=_MAX_IMAGE_BYTES,
            has_image_embeds=True,
            has_private_images=self.has_private_images,
            has_prefix_cache=self.has_prefix_cache,
            step_timeout=_STEP_SECONDS_EMBEDDED if self.runs_here else config.step_timeout,
        )

    def shard_config(self, model: ModelFolder) -> ShardConfig:
        """Settings of the shard in this process."""
        return parse_arguments(model_flags.to_command_line(self.command_line(), model, 0, _NOWHERE))
