"""The KV pool: one pair of paged tensors for each attention layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inlay_kernels import Kernels
from inlay_shard.attention import CurrentBatch, PagedLayer, attach
from inlay_shard.errors import ModelRefused

MAX_POOL_TOKENS = {"cpu": 1 << 18, "cuda": 1 << 22}
"""No pool holds more tokens than this, by device, unless the operator says so."""
_MAX_CHOOSING_ROWS = 128
CPU_SHARE = 0.25
"""Part of the free memory that a pool in main memory takes at most."""
CUDA_SHARE = 0.85
"""Part of the free memory that a pool on a CUDA device takes at most."""


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """An attention module of the text tower, and the shape of what it caches on this rank."""

    module: nn.Module
    num_kv_heads: int
    head_size: int


class KVPool:
    """Keys and values of all sequences. Block ids are in [0, num_blocks)."""

    def __init__(
        self,
        layers: Sequence[AttentionLayer],
        kernels: Kernels,
        *,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Allocates the pool and attaches it to the layers."""
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.current = CurrentBatch()
        for layer in layers:
            shape = (num_blocks, block_size, layer.num_kv_heads, layer.head_size)
            key_cache = _finite(shape, dtype, device)
            value_cache = _finite(shape, dtype, device)
            attach(layer.module, PagedLayer(kernels, self.current, key_cache, value_cache))

    def __repr__(self) -> str:
        return f"KVPool(num_blocks={self.num_blocks}, block_size={self.block_size})"


def _finite(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, since a kernel may multiply what it does not look at by zero, and NaN would stay.

    In main memory NumPy gets them from the system, page by page as they are first written.
    """
    if device.type != "cpu":
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
    num_bytes = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(np.zeros(num_bytes, np.uint8)).view(dtype).view(tuple(shape))


def bytes_per_block(layers: Sequence[AttentionLayer], block_size: int, dtype: torch.dtype) -> int:
    """Memory of one block over all layers, keys and values."""
    per_token = sum(2 * layer.num_kv_heads * layer.head_size for layer in layers)
    return per_token * block_size * dtype.itemsize


def choose_num_blocks(
    block_bytes: int, block_size: int, device: torch.device, *, reserved_bytes: int = 0
) -> int:
    """As many blocks as free memory sensibly allows, with `reserved_bytes` left for steps.

    Raises ModelRefused when not one fits.
    """
    free = int(_share_of_free_bytes(device)) - reserved_bytes
    num_blocks = min(free // block_bytes, MAX_POOL_TOKENS[device.type] // block_size)
    if num_blocks < 1:
        raise ModelRefused(
            f"one block of the KV pool takes {block_bytes} bytes and {max(0, free)} may be used; "
            "free some memory, or choose a smaller --block-size or --max-batch-tokens"
        )
    return num_blocks


def step_bytes(text: Any, num_tokens: int, dtype: torch.dtype) -> int:
    """About what a step over `num_tokens` needs beside the pool.

    text: configuration of the text tower. Counted are a few copies of the hidden states, two of
    the widest layer, and the logits of a large decode batch in float32.
    """
    widest = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    states = num_tokens * (8 * text.hidden_size + 2 * widest) * dtype.itemsize
    return int(states + 2 * _MAX_CHOOSING_ROWS * text.vocab_size * 4)


def _share_of_free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return CUDA_SHARE * torch.cuda.mem_get_info(device)[0]
    return CPU_SHARE * _available_memory()


def _available_memory() -> int:
    """Bytes of main memory that the system can give, within a control group's limit."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        usage = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        available = min(available, int(text) - int(usage["anon"]) - int(usage.get("kernel", 0)))
    return max(0, available)
