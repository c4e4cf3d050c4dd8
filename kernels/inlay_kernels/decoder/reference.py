"""The compiled tower in plain torch: slow, obvious, and what it is held against."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inlay_kernels.batch import AttentionBatch
from inlay_kernels.decoder.arrays import Shape
from inlay_kernels.decoder.weights import LayerWeights
from inlay_kernels.kv_cache import write_kv
from inlay_kernels.paged_attention.reference import paged_attention


def decode(
    shape: Shape,
    layers: Sequence[LayerWeights],
    final_norm: Tensor,
    caches: Sequence[tuple[Tensor, Tensor]],
    embeddings: Tensor,
    batch: AttentionBatch,
    cosines: Tensor,
    sines: Tensor,
) -> Tensor:
    """Last hidden states (tokens, hidden_size) in float32; arguments as for `Decoder`."""
    hidden = embeddings.float()
    for layer, (keys, values) in zip(layers, caches, strict=True):
        x = _norm(hidden, layer.attention_norm, shape.epsilon)
        heads = [_linear(x, layer, place).view(len(x), -1, shape.head_size) for place in range(3)]
        query, key = heads[:2]
        if layer.head_norms is not None:
            query = _norm(query, layer.head_norms[0], shape.head_epsilon)
            key = _norm(key, layer.head_norms[1], shape.head_epsilon)
        query, key = (_rotate(part, cosines, sines) for part in (query, key))
        write_kv(key.to(keys.dtype), heads[2].to(keys.dtype), keys, values, batch.slots)
        attended = paged_attention(
            query,
            keys,
            values,
            batch,
            scale=layer.attention_scale,
            sliding_window=layer.window,
        )
        hidden = hidden + _linear(attended.flatten(1), layer, 3)
        x = _norm(hidden, layer.mlp_norm, shape.epsilon)
        gate, up = _linear(x, layer, 4), _linear(x, layer, 5)
        bent = (
            functional.gelu(gate, approximate="tanh") if shape.has_gelu else functional.silu(gate)
        )
        hidden = hidden + _linear(bent * up, layer, 6)
    return _norm(hidden, final_norm, shape.epsilon)


def _linear(x: Tensor, layer: LayerWeights, place: int) -> Tensor:
    bias = layer.biases[place]
    weight = layer.projections[place].float()
    return functional.linear(x, weight, None if bias is None else bias.float())


def _norm(x: Tensor, factors: Tensor, epsilon: np.float32) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + float(epsilon)) * factors.float()


def _rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """The leading part of each head of (tokens, heads, head_size), turned by its halves."""
    size = cosines.shape[1]
    turned, rest = heads[..., :size], heads[..., size:]
    first, second = turned.chunk(2, -1)
    cosines, sines = cosines.unsqueeze(1), sines.unsqueeze(1)
    turned = turned * cosines + torch.cat([-second, first], -1) * sines
    return torch.cat([turned, rest], -1)
