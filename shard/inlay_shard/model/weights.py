"""Reading a model's weights from its folder: all of them, from safetensors alone."""

from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.configuration_utils import PretrainedConfig
from transformers.distributed.configuration_utils import DistributedConfig

from inlay_shard.config import ShardConfig
from inlay_shard.errors import ModelRefused

_NAMED = 5
"""Missing weights that a refusal names."""


def read_weights(
    loader: Any,
    model_config: PretrainedConfig,
    config: ShardConfig,
    dtype: torch.dtype,
    device: torch.device,
) -> PreTrainedModel:
    """The model with its weights on `device`; with several ranks, this rank's part of them.

    Raises ModelRefused, also when the folder lacks some, which `transformers` would make up.
    """
    split: dict[str, Any] = {}
    if config.num_shards > 1:
        plan = DistributedConfig(tp_plan="auto", tp_size=config.num_shards)
        split = {"distributed_config": plan}
    try:
        model, told = loader.from_pretrained(
            config.model,
            config=model_config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **split,
        )
    except SafetensorError as error:
        raise ModelRefused(f"its weights cannot be read: {error}") from error
    except (ValueError, OSError, ImportError, KeyError, RuntimeError) as error:
        raise ModelRefused(f"it cannot be loaded: {error}") from error
    _check_complete(model, told["missing_keys"])
    placed: PreTrainedModel = model if config.num_shards > 1 else model.to(device)
    return placed


def _check_complete(model: PreTrainedModel, missing_keys: set[str]) -> None:
    """Raise ModelRefused when parameters are missing. Buffers are computed, and parameters that are
    tied to others are not among the keys."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    missing = sorted(missing_keys & parameters)
    if missing:
        others = ", …" if len(missing) > _NAMED else ""
        raise ModelRefused(
            f"its folder lacks {len(missing)} of its {len(parameters)} weights: "
            f"{', '.join(missing[:_NAMED])}{others}"
        )
