"""Our full attention inside unmodified encoders of images, through `transformers`' interface."""

from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from inlay_kernels.full_attention import can_attend, full_attention
from inlay_kernels.processor import HAS_BFLOAT16_PRODUCTS

FULL: Final = "inlay_full"
"""Name of our attention in `transformers`, which calls it where that is fast."""
FULL_ALWAYS: Final = "inlay_full_always"
"""The same wherever it can be called, which proves it with small pictures."""

_OTHERS: Final = ("position_bias", "cache", "softcap", "sliding_window", "s_aux")
"""Arguments of the interface that change the result in a way that it does not compute."""
_MIN_POSITIONS: Final = 512
"""From so many keys on it is as fast as torch's."""
_MIN_PAIRED_POSITIONS: Final = 128
"""The same in bfloat16, where the processor has products of it: then twice as fast."""


def register() -> None:
    """Make our attention known to `transformers`, with the masks that its own would get."""
    for name, attend in ((FULL, _attend), (FULL_ALWAYS, _attend_always)):
        AttentionInterface.register(name, attend)
        AttentionMaskInterface.register(name, sdpa_mask)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **named: Any,
) -> tuple[Tensor, None]:
    """What `transformers` calls: query (batch, heads, tokens, head_size) -> (batch, tokens, heads,
    head_size)."""
    is_paired = query.dtype == torch.bfloat16 and HAS_BFLOAT16_PRODUCTS
    is_long = key.shape[-2] >= (_MIN_PAIRED_POSITIONS if is_paired else _MIN_POSITIONS)
    attend = _attend_always if is_long else sdpa_attention_forward
    return attend(module, query, key, value, attention_mask, **named)


def _attend_always(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **named: Any,
) -> tuple[Tensor, None]:
    """The same; what is not full attention is left to torch."""
    is_full = _is_full(module, query, named) and _hides_nothing(attention_mask)
    if not is_full or not can_attend(query, key, value):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **named)
    scaling = named.get("scaling")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    return full_attention(query, key, value, scale=scale), None


def _hides_nothing(mask: Tensor | None) -> bool:
    """Whether a mask, of what is seen or to be added to scores, changes nothing."""
    if mask is None:
        return True
    return bool(mask.all()) if mask.dtype == torch.bool else not bool(mask.any())


def _is_full(module: nn.Module, query: Tensor, named: dict[str, Any]) -> bool:
    """Whether each token sees all others, and nothing but their keys says how much."""
    is_causal = named.get("is_causal")
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    is_plain = not named.get("dropout") and all(named.get(name) is None for name in _OTHERS)
    return is_plain and not (is_causal and query.shape[-2] > 1)
