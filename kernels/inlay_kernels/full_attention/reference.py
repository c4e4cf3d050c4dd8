"""Full attention in plain torch: what every other form is held against."""

import torch
from torch import Tensor


def full_attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Attention of all queries over all keys of their batch entry and head.

    query: (batch, heads, tokens, head_size). key, value: (batch, kv_heads, positions, head_size);
    heads is a multiple of kv_heads and head h reads KV head h // (heads // kv_heads); values may
    differ in size. Computes in float32; returns (batch, tokens, heads, size of the values),
    contiguous, in the type of `query`.
    """
    group = query.shape[1] // key.shape[1]
    keys, values = (part.float().repeat_interleave(group, 1) for part in (key, value))
    shares = (torch.einsum("bhtd,bhsd->bhts", query.float(), keys) * scale).softmax(-1)
    return torch.einsum("bhts,bhsd->bthd", shares, values).to(query.dtype).contiguous()
