"""Which model folders a shard can serve, decided from the configuration before weights load."""

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationMixin,
)
from transformers.configuration_utils import PretrainedConfig

from inlay_shard.errors import ModelRefused

_AUTO_CLASSES: tuple[Any, ...] = (AutoModelForImageTextToText, AutoModelForCausalLM)
_ATTENTION = {
    "full_attention": "full_attention",
    "sliding_attention": "sliding_attention",
    "chunked_attention": "chunked_attention",
    "hybrid": "full_attention",
    "hybrid_sliding": "sliding_attention",
}
"""Kinds of layers that have attention, and of which kind that is."""
_RECURRENT = frozenset({"conv", "linear_attention", "hybrid", "hybrid_sliding"})
"""Kinds of layers that keep a state of each sequence."""
_NEITHER = frozenset({"mlp", "moe"})
"""Kinds of layers that keep nothing."""
_BATCH_DEPENDENT_ROPE = frozenset({"dynamic", "longrope"})
"""Their frequencies follow the longest sequence of a batch once it passes the trained length."""


def read_config(folder: Path) -> PretrainedConfig:
    """The model's configuration. Raises ModelRefused when there is none that can be used."""
    if not (folder / "config.json").is_file():
        raise ModelRefused(f"{folder} is not a model folder: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise ModelRefused(
            f"{folder} has no weights in the safetensors format; pickles (.bin, .pt, .pth) can run "
            "code, so they are never read"
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise ModelRefused(_config_words(error)) from error
    assert isinstance(config, PretrainedConfig)
    return config


def _config_words(error: Exception) -> str:
    if "trust_remote_code" not in str(error):
        return f"its config.json cannot be used: {error}"
    return (
        "it needs code from its own folder, which is never run; --plugin runs code of yours "
        "(docs/adding-a-model.md)"
    )


def text_config(config: PretrainedConfig) -> PretrainedConfig:
    """The part of the configuration that describes the text tower."""
    return config.get_text_config(decoder=True)


def auto_class(config: PretrainedConfig) -> Any:
    """The `transformers` class that loads the model. Raises ModelRefused when there is none."""
    for candidate in _AUTO_CLASSES:
        if type(config) in candidate._model_mapping:
            return candidate
    raise ModelRefused(
        f"transformers has no decoder of text for models of type {config.model_type}"
    )


def check(config: PretrainedConfig, num_ranks: int) -> None:
    """Raise ModelRefused, in words, for what would load and then give wrong answers."""
    text = text_config(config)
    if config.is_encoder_decoder:
        raise ModelRefused("it is an encoder-decoder model; only decoders can be served")
    if not _answers_by_tokens(config):
        raise ModelRefused("it does not answer by one token after the other")
    if getattr(text, "cross_attention_layers", None):
        raise ModelRefused("its text looks at images by cross-attention, which is not supported")
    _check_layers(text)
    if num_ranks > 1 and num_recurrent_layers(text):
        raise ModelRefused("it has recurrent layers, which are not split over several shards")
    if attention_kinds(text) == []:
        return
    if not hasattr(text, "num_attention_heads"):
        raise ModelRefused("it says nothing of attention heads, which are what is paged")
    _check_division(text, num_ranks)


def _answers_by_tokens(config: PretrainedConfig) -> bool:
    """Whether `generate` of its class is the common one; true of classes of plugins."""
    for candidate in _AUTO_CLASSES:
        if type(config) in candidate._model_mapping:
            found: Any = candidate._model_mapping[type(config)]
            model_class = found[0] if isinstance(found, tuple) else found
            is_known = model_class.__module__.startswith("transformers.")
            return not is_known or issubclass(model_class, GenerationMixin)
    return True


def _check_layers(text: PretrainedConfig) -> None:
    kinds = set(getattr(text, "layer_types", None) or ())
    if unknown := sorted(kinds - _ATTENTION.keys() - _RECURRENT - _NEITHER):
        raise ModelRefused(
            f"it has layers of the kind {', '.join(unknown)}, which is not supported"
        )


def attention_kinds(text: PretrainedConfig) -> list[str] | None:
    """Of which kind the attention of each layer is that has some; None where it is not said."""
    kinds = getattr(text, "layer_types", None)
    return [_ATTENTION[kind] for kind in kinds if kind in _ATTENTION] if kinds else None


def num_recurrent_layers(text: PretrainedConfig) -> int:
    """Layers that keep a state of each sequence."""
    return sum(kind in _RECURRENT for kind in getattr(text, "layer_types", None) or ())


def _check_division(text: PretrainedConfig, num_ranks: int) -> None:
    num_heads = text.num_attention_heads
    num_kv_heads = getattr(text, "num_key_value_heads", None) or num_heads
    for count, what in ((num_kv_heads, "KV heads"), (num_heads, "attention heads")):
        if count % num_ranks:
            raise ModelRefused(
                f"its {count} {what} cannot be split over {num_ranks} shards; "
                f"choose a --num-shard that divides {count}"
            )


def max_positions(config: PretrainedConfig) -> int:
    """The longest sequence that may be served; 0 when the model sets no limit."""
    text = text_config(config)
    limit = getattr(text, "max_position_embeddings", None) or 0
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = rope.values() if rope and all(isinstance(v, dict) for v in rope.values()) else [rope]
    for kind in kinds:
        if kind.get("rope_type") in _BATCH_DEPENDENT_ROPE:
            trained = kind.get("original_max_position_embeddings")
            trained = trained or getattr(text, "original_max_position_embeddings", None) or limit
            limit = min(limit, trained)
    if "chunked_attention" in (getattr(text, "layer_types", None) or ()):
        limit = min(limit, text.attention_chunk_size)  # within the first chunk all is seen
    return int(limit)
