"""The choice, made once, of the form in which each kernel runs on a device."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from inlay_kernels import kv_cache
from inlay_kernels.batch import AttentionBatch
from inlay_kernels.paged_attention import cpu as attention_cpu
from inlay_kernels.paged_attention import reference as attention_reference
from inlay_kernels.sampling import cpu as sampling_cpu
from inlay_kernels.sampling import masked as sampling_masked
from inlay_kernels.sampling import reference as sampling_reference
from inlay_kernels.sampling.likeliest import Likeliest
from inlay_kernels.sampling.warping import Warping


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
        sinks: Tensor | None = None,
    ) -> Tensor:
        """Attend over the cache; (tokens, heads, head_size)."""


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The kernels of one device."""

    paged_attention: PagedAttention
    """Attention over the paged cache."""
    write_kv: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]
    """(key, value, key_cache, value_cache, slots): copy new keys and values into their slots."""
    apply_mask: Callable[[Tensor, Tensor], None]
    """(logits, packed_mask): set the logits of forbidden tokens to -inf, in place."""
    most_likely: Callable[[Tensor], Likeliest]
    """(logits): the most likely token of each row."""
    keep_allowed: Callable[[Likeliest, Tensor, Tensor, Sequence[int]], None]
    """(likeliest, logits, packed_mask, places): put the most likely allowed tokens of the rows at
    `places` into `likeliest`."""
    draw: Callable[[Tensor, Warping, Tensor], Tensor]
    """(logits, warping, uniforms): draw one token for each row; consumes the logits."""


REFERENCE = Kernels(
    paged_attention=attention_reference.paged_attention,
    write_kv=kv_cache.write_kv,
    apply_mask=sampling_reference.apply_mask,
    most_likely=sampling_reference.most_likely,
    keep_allowed=sampling_reference.keep_allowed,
    draw=sampling_reference.draw,
)
"""Every kernel in plain torch; right on any device and fast on none."""

_CPU = Kernels(
    paged_attention=attention_cpu.paged_attention,
    write_kv=kv_cache.write_kv,
    apply_mask=sampling_cpu.apply_mask,
    most_likely=sampling_cpu.most_likely,
    keep_allowed=sampling_masked.keep_allowed,
    draw=sampling_cpu.draw,
)


def select(device: torch.device | str) -> Kernels:
    """The fastest kernels that run on `device`.

    On a GPU, Triton is used where it is installed (the extra `gpu`).
    """
    kind = torch.device(device).type
    if kind == "cpu":
        return _CPU
    if kind == "cuda" and importlib.util.find_spec("triton") is not None:
        return _with_triton()
    return REFERENCE


def _with_triton() -> Kernels:
    """Imports Triton, which nothing else in this package needs."""
    from inlay_kernels.paged_attention import triton

    return replace(REFERENCE, paged_attention=triton.paged_attention)
