"""Which text towers are of the common kind, told by their parts and by what the parts compute.

    x = x + output(attention(rotated heads of query, key, value(norm(x))))
    x = x + down(bent(gate(norm(x))) * up(norm(x)))

with norms by the root mean square, as in Llama, Mistral, Qwen2, Qwen3, SmolVLM and many others.
Nothing is believed of a name: whoever builds on a description proves it by the model's logits.
"""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from inlay_kernels.decoder import LayerWeights, Shape

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_HEAD_NORMS = ("q_norm", "k_norm")
_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_TOWER = {"embed_tokens", "layers", "norm"}
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Call:
    """How a layer called attention."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    value_size: int
    scale: float
    window: int | None
    is_plain: bool
    """Whether nothing bends the scores: no cap, no sinks."""


@dataclass(frozen=True)
class Norm:
    """A norm by the root mean square."""

    factors: Tensor
    """float32 (size,)."""
    epsilon: float


def recognise(tower: Any, calls: Sequence[Call]) -> Shape | None:
    """The shape of a tower of the common kind on the CPU; None for every other.

    calls: of its layers, in order.
    """
    layers: Any = getattr(tower, "layers", None)
    if _parts(tower) != _TOWER or not layers or len(layers) != len(calls):
        return None
    if not all(_is_common(layer) for layer in layers) or not _has_common_rotation(tower):
        return None
    first, call = layers[0], calls[0]
    norms = [find_norm(norm) for layer in layers for norm in _norms(layer)]
    norms.append(find_norm(tower.norm))
    head_norms = [find_norm(norm) for layer in layers for norm in _head_norms(layer)]
    if None in norms or None in head_norms or not _are_alike(layers, calls):
        return None
    bends = {_bend(layer.mlp) for layer in layers}
    epsilons = {norm.epsilon for norm in norms if norm}
    head_epsilons = {norm.epsilon for norm in head_norms if norm}
    if len(bends) > 1 or None in bends or len(epsilons) > 1 or len(head_epsilons) > 1:
        return None
    return Shape(
        num_layers=len(layers),
        hidden_size=first.mlp.up_proj.in_features,
        num_heads=call.num_heads,
        num_kv_heads=call.num_kv_heads,
        head_size=call.head_size,
        rotary_size=rotation(tower, torch.zeros(1, 1, dtype=torch.int64))[0].shape[1],
        intermediate_size=first.mlp.up_proj.out_features,
        epsilon=np.float32(epsilons.pop()),
        head_epsilon=np.float32(head_epsilons.pop() if head_epsilons else 1),
        has_head_norms=bool(head_norms),
        has_gelu=bends.pop() == "gelu",
    )


def layer_weights(layer: Any, call: Call) -> LayerWeights:
    """The weights of a layer of a recognised tower."""
    norms = [_factors(norm) for norm in _norms(layer)]
    head_norms = [_factors(norm) for norm in _head_norms(layer)]
    parts = linears(layer)
    return LayerWeights(
        projections=[part.weight.detach() for part in parts],
        biases=[part.bias for part in parts],
        attention_norm=norms[0],
        mlp_norm=norms[1],
        head_norms=(head_norms[0], head_norms[1]) if head_norms else None,
        attention_scale=call.scale,
        window=call.window,
    )


def linears(layer: Any) -> list[nn.Linear]:
    """Its seven: of queries, keys, values and the output of attention; gate, up and down."""
    return [
        *(getattr(layer.self_attn, name) for name in _PROJECTIONS),
        *(getattr(layer.mlp, name) for name in _MLP),
    ]


def find_norm(module: nn.Module) -> Norm | None:
    """What a norm multiplies by, if it is one by the root mean square; found by trying it."""
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    weight = getattr(module, "weight", None)
    if not isinstance(epsilon, float) or not isinstance(weight, Tensor):
        return None
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([[1e-3], [1.0], [30.0]])
    x = torch.randn(3, len(weight), generator=generator) * sizes  # rows of all magnitudes
    factors = module(torch.ones(1, len(weight)))[0] * (1 + epsilon) ** 0.5
    expected = x * torch.rsqrt(x.square().mean(1, keepdim=True) + epsilon) * factors
    is_equal = torch.allclose(module(x), expected, rtol=_TOLERANCE, atol=_TOLERANCE)
    return Norm(factors, epsilon) if is_equal else None


def rotation(tower: Any, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (tokens, rotary_size), in float32, of positions (axes, tokens)."""
    if len(position_ids) > 1:
        position_ids = position_ids.unsqueeze(1)
    cosines, sines = tower.rotary_emb(torch.zeros(1), position_ids)
    return cosines[0], sines[0]


def _factors(module: nn.Module) -> Tensor:
    norm = find_norm(module)
    assert norm is not None
    return norm.factors


def _parts(module: nn.Module) -> set[str]:
    """Names of its children and parameters, as far as they hold weights."""
    own = {name for name, _ in module.named_parameters(recurse=False)}
    return own | {name for name, child in module.named_children() if [*child.parameters()]}


def _is_common(layer: nn.Module) -> bool:
    if _parts(layer) != _LAYER:
        return False
    attention: Any = layer.self_attn
    mlp: Any = layer.mlp
    names = _parts(attention)
    if names - set(_HEAD_NORMS) != set(_PROJECTIONS) or _parts(mlp) != set(_MLP):
        return False
    has_both: bool = names.isdisjoint(_HEAD_NORMS) or names.issuperset(_HEAD_NORMS)
    return has_both and all(is_plain(part) for part in linears(layer))


def is_plain(linear: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a linear layer and nothing else, of a type that is computed here."""
    if type(linear) is not nn.Linear or linear._forward_hooks or linear._forward_pre_hooks:
        return False
    weight = linear.weight
    is_known = weight.dtype in (torch.float32, torch.bfloat16)
    return type(weight.data) is Tensor and weight.device.type == "cpu" and is_known


def _has_common_rotation(tower: nn.Module) -> bool:
    """Whether one rotation, by positions alone, serves all layers."""
    rotary = getattr(tower, "rotary_emb", None)
    if rotary is None or set(inspect.signature(rotary.forward).parameters) != {"x", "position_ids"}:
        return False
    cosines: Tensor = rotary(torch.zeros(1), torch.zeros(1, 1, dtype=torch.int64))[0]
    return cosines.dim() == 3 and cosines.shape[-1] % 2 == 0


def _are_alike(layers: Iterable[Any], calls: Sequence[Call]) -> bool:
    """Whether all layers have one shape, and attention as it is computed here."""
    shapes = {tuple(part.weight.shape for part in linears(layer)) for layer in layers}
    heads = {(call.num_heads, call.num_kv_heads, call.head_size) for call in calls}
    is_plain = all(call.is_plain and call.value_size == call.head_size for call in calls)
    return len(shapes) == 1 and len(heads) == 1 and is_plain and calls[0].head_size % 2 == 0


def _norms(layer: Any) -> Iterator[nn.Module]:
    yield layer.input_layernorm
    yield layer.post_attention_layernorm


def _head_norms(layer: Any) -> Iterator[nn.Module]:
    for name in _HEAD_NORMS:
        if (norm := getattr(layer.self_attn, name, None)) is not None:
            yield norm


def _bend(mlp: Any) -> str | None:
    """What bends its gates."""
    x = torch.linspace(-8, 8, 101)
    bent = mlp.act_fn(x)
    if torch.allclose(bent, functional.silu(x), atol=_TOLERANCE):
        return "silu"
    is_gelu = torch.allclose(bent, functional.gelu(x, approximate="tanh"), atol=1e-6)
    return "gelu" if is_gelu else None
