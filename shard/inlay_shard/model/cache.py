"""The KV pool: one pair of paged tensors for each attention layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from inlay_kernels import Kernels
from inlay_kernels.decoder import padded_width
from inlay_kernels.memory import lazy_zeros
from inlay_shard.errors import ModelRefused
from inlay_shard.machine.memory import free_bytes
from inlay_shard.model.attention import CurrentBatch, PagedLayer, attach
from inlay_shard.states.pool import StatePool

MAX_POOL_TOKENS = {"cpu": 1 << 18, "cuda": 1 << 22}
"""No pool holds more tokens than this, by device, unless the operator says so."""
CPU_SHARE = 0.25
"""Part of the memory left beside the largest step that a pool in main memory takes."""
CUDA_SHARE = 0.85
"""The same for a pool on a CUDA device."""


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """An attention module of the text tower, and the shape of what it caches on this rank."""

    module: nn.Module
    num_kv_heads: int
    head_size: int
    """The larger one where keys and values differ in size."""
    source: nn.Module | None = None
    """The module of an earlier layer whose keys and values are its own, too."""
    sees_ahead: bool = True
    """Whether it heeds how far tokens of images see; False: each sees what is before it alone."""


def all_alike(layers: Sequence[AttentionLayer]) -> bool:
    """Whether each has keys and values of its own, and all see as far."""
    return all(layer.source is None for layer in layers) and (
        len({layer.sees_ahead for layer in layers}) == 1
    )


def in_panels(layers: Sequence[AttentionLayer]) -> list[AttentionLayer]:
    """The same layers with heads as wide as the compiled tower lays them out in the pool."""
    return [replace(layer, head_size=padded_width(layer.head_size)) for layer in layers]


class KVPool:
    """Keys and values of all sequences. Block ids are in [0, num_blocks).

    Behind them may be scratch, which belongs to no sequence and is told to nobody.
    """

    def __init__(
        self,
        layers: Sequence[AttentionLayer],
        kernels: Kernels,
        *,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
        num_scratch_blocks: int = 0,
        states: StatePool | None = None,
    ) -> None:
        """Allocates the pool and attaches it to the layers.

        states: beside it, what layers keep of sequences that are not attention.
        """
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.device = device
        self.num_bytes = num_blocks * bytes_per_block(layers, block_size, dtype)
        self.current = CurrentBatch()
        self.states = states
        num_allocated = num_blocks + num_scratch_blocks
        caches: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        for layer in layers:
            if layer.source is None:
                shape = (num_allocated, block_size, layer.num_kv_heads, layer.head_size)
                caches[layer.module] = _finite(shape, dtype, device), _finite(shape, dtype, device)
            paged = PagedLayer(
                kernels,
                self.current,
                *caches[layer.source or layer.module],
                writes=layer.source is None,
                sees_ahead=layer.sees_ahead,
            )
            attach(layer.module, paged)

    @property
    def scratch_block(self) -> int:
        """The first block of the scratch."""
        return self.num_blocks

    def __repr__(self) -> str:
        return f"KVPool(num_blocks={self.num_blocks}, block_size={self.block_size})"


def _finite(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, since a kernel may multiply what it does not look at by zero, and NaN would stay.

    In main memory the system gives them as they are first written.
    """
    if device.type != "cpu":
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
    return lazy_zeros(math.prod(shape), dtype).view(tuple(shape))


def bytes_per_block(layers: Sequence[AttentionLayer], block_size: int, dtype: torch.dtype) -> int:
    """Memory of one block over all layers, keys and values."""
    own = [layer for layer in layers if layer.source is None]
    per_token = sum(2 * layer.num_kv_heads * layer.head_size for layer in own)
    return per_token * block_size * dtype.itemsize


def choose_num_blocks(
    block_bytes: int, block_size: int, device: torch.device, *, reserved_bytes: int = 0
) -> int:
    """As many blocks as free memory sensibly allows, with `reserved_bytes` left for what is
    computed at a time.

    Raises ModelRefused when not one fits.
    """
    share = CUDA_SHARE if device.type == "cuda" else CPU_SHARE
    free = int(share * (free_bytes(device) - reserved_bytes))
    num_blocks = min(free // max(1, block_bytes), MAX_POOL_TOKENS[device.type] // block_size)
    if num_blocks < 1:
        raise ModelRefused(
            f"one block of the KV pool takes {block_bytes} bytes and {max(0, free)} may be used; "
            "free some memory, or choose a smaller --block-size or --max-batch-tokens"
        )
    return num_blocks
