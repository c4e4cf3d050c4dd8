"""The arguments of `LLM`, and why some of vLLM's are refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inlay.offline.engine_options import EngineOptions

REASONS = {
    "tokenizer": "the tokenizer is the one in the model's folder",
    "tokenizer_mode": "the tokenizer is the one in the model's folder",
    "gpu_memory_utilization": "num_gpu_blocks_override sets the size of the KV pool",
    "kv_cache_memory_bytes": "num_gpu_blocks_override sets the size of the KV pool",
    "kv_cache_dtype": "the KV cache has the type of the model",
    "swap_space": "nothing is swapped: what was preempted is computed again",
    "cpu_offload_gb": "weights are not moved between devices",
    "pipeline_parallel_size": "tensor_parallel_size alone splits a model",
    "data_parallel_size": "tensor_parallel_size alone splits a model",
    "distributed_executor_backend": "in_process says whether the model has a process of its own",
    "enable_lora": "there are no adapters",
    "speculative_config": "tokens are not guessed ahead",
    "hf_overrides": "the model's configuration is used as it is",
    "mm_processor_kwargs": "the model's processor is used as it is configured",
    "task": "models generate text",
    "runner": "models generate text",
}
"""By name: arguments of vLLM's that have no meaning here."""


def refuse(others: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    """Raise TypeError for the first argument that is not known here."""
    for name in others:
        reason = f": {REASONS[name]}" if name in REASONS else ""
        raise TypeError(f"LLM() does not take `{name}`{reason}")
    if trust_remote_code:
        raise ValueError("`trust_remote_code` must be False: code from a repository is never run")


def engine_options(
    *, limit_mm_per_prompt: Mapping[str, int] | None, local_images: str, **chosen: Any
) -> EngineOptions:
    """The engine's options. Raises ValueError for a limit on what is not an image."""
    limits = dict(limit_mm_per_prompt or {})
    max_images = limits.pop("image", EngineOptions.max_images)
    if others := sorted(name for name, limit in limits.items() if limit):
        raise ValueError(f"`limit_mm_per_prompt` is for images. Given: `{'`, `'.join(others)}`")
    return EngineOptions(
        max_images=max_images, local_images=Path(local_images) if local_images else None, **chosen
    )
