"""Our attention inside unmodified `transformers` layers, through its attention interface."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from inlay_kernels import AttentionBatch, Kernels
from inlay_shard.errors import ModelRefused

PAGED = "inlay_paged"
"""Name of our attention in `transformers`. No mask function has this name, so none is made."""

_ATTRIBUTE = "inlay_attention"
"""Where an attention module holds what our attention calls."""

_HARMLESS = frozenset(
    {"position_ids", "cache_position", "use_cache", "output_attentions", "logits_to_keep"}
)
"""Arguments of the interface that say nothing about the result."""

Attend = Callable[..., Tensor]
"""(query, key, value, scale, sliding_window, softcap, sinks) -> output; all (tokens, heads, size),
the output with the size of the values."""


class CurrentBatch:
    """The batch that the model works on now; set before each forward pass, read by each layer."""

    batch: AttentionBatch


@dataclass(slots=True)
class PagedLayer:
    """Attention of one layer over its part of the pool."""

    kernels: Kernels
    current: CurrentBatch
    key_cache: Tensor
    """(num_blocks, block_size, kv_heads, head_size)."""
    value_cache: Tensor
    writes: bool = True
    """Whether the keys and values are its own; those of another layer are in the pool already."""
    sees_ahead: bool = True
    """Whether it heeds the stops of a batch."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        sliding_window: int | None,
        softcap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        """Write the new keys and values, then attend: (tokens, heads, size of the values)."""
        batch = self.current.batch
        if batch.stops is not None and not self.sees_ahead:
            batch = replace(batch, stops=None)
        head_size, value_size = self.key_cache.shape[-1], value.shape[-1]
        query, key, value = (_widen(entry, head_size) for entry in (query, key, value))
        if self.writes:
            self.kernels.write_kv(key, value, self.key_cache, self.value_cache, batch.slots)
        output = self.kernels.paged_attention(
            query,
            self.key_cache,
            self.value_cache,
            batch,
            scale=scale,
            sliding_window=sliding_window,
            softcap=softcap,
            sinks=sinks,
        )
        return output[..., :value_size]


def _widen(entry: Tensor, size: int) -> Tensor:
    """With zeros up to `size`, where keys and values differ in size: they change nothing."""
    missing = size - entry.shape[-1]
    return functional.pad(entry, (0, missing)) if missing else entry


def attach(module: nn.Module, attend: Attend) -> None:
    """Let an attention module call `attend`."""
    module.__dict__[_ATTRIBUTE] = attend


def attached(module: nn.Module) -> Attend:
    """What an attention module calls."""
    attend: Attend = module.__dict__[_ATTRIBUTE]
    return attend


def paged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What `transformers` calls: query (1, heads, tokens, head_size) -> (1, tokens, heads, …).

    s_aux: a sink for each head, as gpt-oss has them.

    Raises ModelRefused for an argument that changes the result in a way we do not compute.
    """
    if others:
        _refuse_unknown(others)
    attend: Attend = module.__dict__[_ATTRIBUTE]
    output = attend(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        sliding_window,
        softcap,
        s_aux,
    )
    return output.unsqueeze(0), None


def register() -> None:
    """Make our attention known to `transformers` under the name PAGED."""
    AttentionInterface.register(PAGED, paged_attention)


def _refuse_unknown(others: dict[str, Any]) -> None:
    unknown = [name for name, value in others.items() if value is not None and value is not False]
    if unknown := sorted(set(unknown) - _HARMLESS):
        raise ModelRefused(f"its attention uses {', '.join(unknown)}, which is not supported")
