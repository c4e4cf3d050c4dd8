"""The configuration of any family, with every size cut down to a few dozen."""

import dataclasses
import re
from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig

from families.tokens import IDS, NAMED, VOCAB_SIZE

TEXT: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 24,
    "n_group": 1,
    "topk_group": 1,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 1024,
    "n_inner": 96,
    "ffn_dim": 96,
    "sliding_window": 16,
    "bos_token_id": IDS["<bos>"],
    "eos_token_id": IDS["<end>"],
    "pad_token_id": IDS["<pad>"],
    "tie_word_embeddings": False,
}
"""Sizes of a text tower."""
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_heads": 2,
    "depth": 2,
    "embed_dim": 32,
    "mlp_ratio": 2,
    "image_size": 32,
    "patch_size": 8,
    "projection_dim": 32,
    "initializer_range": 0.2,
    "out_hidden_size": 64,
    "vocab_size": VOCAB_SIZE,
    "num_layers": 2,
    "position_embedding_size": 16,
    "num_channels": 3,
}
"""Sizes of whatever is not text."""


def small(config_class: Any, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Arguments for a configuration class: all sizes small, sub-configurations included.

    changes: arguments that are set; those of a sub-configuration in a dictionary of its name.
    """
    return _small(config_class, _default(config_class), TEXT, changes or {})


def _small(
    config_class: Any, default: Any, sizes: dict[str, Any], changes: dict[str, Any]
) -> dict[str, Any]:
    names = _names(config_class)
    arguments = {
        name: _as_before(size, vars(default).get(name) if default else None)
        for name, size in sizes.items()
        if name in names and _is_used(name, default)
    }
    arguments |= _layers(default) if "layer_types" in names else {}
    arguments |= _token_ids(names - arguments.keys())
    for name, declared in (config_class.sub_configs or {}).items():
        own = changes.get(name, {})
        if own is None:
            arguments[name] = None
            continue
        sub_class, sub_default = _sub_config(declared, getattr(default, name, None), own)
        is_text = any(word in name for word in ("text", "decoder", "vlm"))
        sub = _small(sub_class, sub_default, TEXT if is_text else VISION, own)
        arguments[name] = {"model_type": sub_class.model_type} | sub
    plain = {n: v for n, v in changes.items() if n not in (config_class.sub_configs or {})}
    return arguments | plain


def _layers(default: Any) -> dict[str, Any]:
    """One layer of each kind that the family mixes."""
    kinds = list(dict.fromkeys(vars(default).get("layer_types") or ())) if default else []
    return {"layer_types": kinds, "num_hidden_layers": len(kinds)} if len(kinds) > 1 else {}


def _is_used(name: str, default: Any) -> bool:
    """A family that slides no window by itself gets none."""
    return name != "sliding_window" or bool(vars(default).get(name))


def _as_before(size: Any, default: Any) -> Any:
    """A whole number as the kind of number that stands there by default."""
    return float(size) if isinstance(default, float) and isinstance(size, int) else size


def _sub_config(declared: Any, default: Any, changes: dict[str, Any]) -> tuple[Any, Any]:
    if "model_type" in changes:
        default = AutoConfig.for_model(changes["model_type"])
    elif declared is not AutoConfig:
        return declared, default or _default(declared)
    assert isinstance(default, PretrainedConfig), f"no type is known for {declared}"
    return type(default), default


def _default(config_class: Any) -> Any:
    try:
        return config_class()
    except Exception:
        return None


def _names(config_class: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(config_class)}


def _token_ids(names: set[str]) -> dict[str, int]:
    """Ids for fields such as `image_token_id` and `boi_token_index`."""
    found = {}
    for name in names:
        if match := re.fullmatch(r"(\w+_token)_(id|index)", name):
            found[name] = IDS[NAMED.get(match[1], "<unk>")]
    return found
