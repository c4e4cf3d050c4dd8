"""The choice, made once, of the form in which each kernel runs on a device."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from inlay_kernels import kv_cache, mask, warping
from inlay_kernels.batch import AttentionBatch
from inlay_kernels.paged_attention import cpu, reference
from inlay_kernels.warping import Warping


class PagedAttention(Protocol):
    """A form of paged attention; `paged_attention.reference` says what it computes."""

    def __call__(
        self,
        query: Tensor,
        key_cache: Tensor,
        value_cache: Tensor,
        batch: AttentionBatch,
        *,
        scale: float,
        sliding_window: int | None = None,
        softcap: float | None = None,
    ) -> Tensor:
        """Attend over the cache; (tokens, heads, head_size)."""


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The kernels of one device."""

    paged_attention: PagedAttention
    """Causal attention over the paged cache."""
    write_kv: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]
    """(key, value, key_cache, value_cache, slots): copy new keys and values into their slots."""
    apply_mask: Callable[[Tensor, Tensor], None]
    """(logits, packed_mask): set the logits of forbidden tokens to -inf, in place."""
    draw: Callable[[Tensor, Warping, Tensor], Tensor]
    """(logits, warping, uniforms): draw one token for each row; consumes the logits."""


REFERENCE = Kernels(
    paged_attention=reference.paged_attention,
    write_kv=kv_cache.write_kv,
    apply_mask=mask.apply_mask,
    draw=warping.draw,
)
"""Every kernel in plain torch; right on any device and fast on none."""


_CPU = replace(REFERENCE, paged_attention=cpu.paged_attention)


def select(device: torch.device | str) -> Kernels:
    """The fastest kernels that run on `device`."""
    return _CPU if torch.device(device).type == "cpu" else REFERENCE
