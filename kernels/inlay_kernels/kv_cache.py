"""Writing new keys and values into the paged cache."""

from torch import Tensor


def write_kv(
    key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slots: Tensor
) -> None:
    """Copy each token's key and value into its slot, in place.

    key, value: (tokens, kv_heads, head_size). key_cache, value_cache: (num_blocks, block_size,
    kv_heads, head_size), contiguous. slots: int64 (tokens,), each in [0, num_blocks * block_size)
    and none twice.
    """
    key_cache.flatten(0, 1).index_copy_(0, slots, key)
    value_cache.flatten(0, 1).index_copy_(0, slots, value)
