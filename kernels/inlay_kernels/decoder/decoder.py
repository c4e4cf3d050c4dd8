"""A text tower of the common kind on the CPU: embeddings in, last hidden states out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.batch import AttentionBatch
from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import crew
from inlay_kernels.decoder.arrays import Batch, Buffers, Cache
from inlay_kernels.decoder.cache_layout import fits, padded_width
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.layers import PHASES_PER_LAYER, run_layers
from inlay_kernels.decoder.packing import padded_outputs
from inlay_kernels.decoder.weights import PackedTower

_MAX_KEPT_TOKENS = 64
"""Buffers of batches of up to so many tokens are kept for the next one of the size."""
_GAP = 32
"""Numbers between the rows of an operand, so that not all rows meet in the same cache lines."""
_NO_STOPS = np.empty(0, np.int32)


@dataclass(frozen=True)
class _Kept:
    """Buffers of one number of tokens, as tensors and as the compiled code sees them."""

    hidden: Tensor
    """float32 (T, hidden_size): a part of `arrays.hidden`."""
    last: Tensor
    """(T, hidden_size): a part of `arrays.x`."""
    arrays: Buffers


class Decoder:
    """Runs the layers of a packed tower over a paged cache, in one compiled call."""

    def __init__(self, tower: PackedTower, caches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """caches: keys and values of each layer, (num_blocks, block_size, kv_heads, width), all of
        one shape, contiguous, and the decoder's own: their blocks are laid out as `cache_layout`
        says. The width is that of heads in whole panels, as `padded_width` gives it.

        Raises ValueError when a block or a head is no whole number of panels.
        """
        self._tower = tower
        self._caches = list(caches)  # what the addresses point to
        addresses = [[keys.data_ptr(), values.data_ptr()] for keys, values in caches]
        keys = caches[0][0]
        block_size, width = keys.shape[1], keys.shape[3]
        if not fits(block_size) or width != padded_width(tower.shape.head_size):
            raise ValueError(f"blocks of {block_size} positions with heads of {width} do not fit")
        self._cache = Cache(np.array(addresses, np.int64), keys.numel(), block_size, width)
        self._element = as_array(caches[0][0].new_empty(0))
        self._kept: dict[int, _Kept] = {}

    def __call__(
        self, embeddings: Tensor, batch: AttentionBatch, cosines: Tensor, sines: Tensor
    ) -> Tensor:
        """Last hidden states (tokens, hidden_size) in the type of the weights.

        embeddings: (tokens, hidden_size). cosines, sines: (tokens, rotary_size) of the rotation.
        """
        num_tokens = len(embeddings)
        kept = self._kept.get(num_tokens) or self._make_buffers(num_tokens)
        kept.hidden.copy_(embeddings)
        arrays = Batch(
            batch.row_starts.numpy(),
            batch.context_lengths.numpy(),
            batch.block_tables.numpy(),
            batch.slots.numpy(),
            _NO_STOPS if batch.stops is None else batch.stops.numpy(),
            cosines.float().contiguous().numpy(),
            sines.float().contiguous().numpy(),
        )
        tower = self._tower
        crew.run(
            run_layers,
            PHASES_PER_LAYER * tower.shape.num_layers + 2,
            tower.shape,
            tower.arrays,
            self._cache,
            arrays,
            kept.arrays,
            self._element,
        )
        return kept.last.to(tower.dtype, copy=True)

    def _make_buffers(self, num_tokens: int) -> _Kept:
        shape, operand = self._tower.shape, self._tower.operand_dtype
        hidden_width = padded_outputs(shape.hidden_size)
        heads = (shape.num_heads, shape.head_size)
        qkv_width = padded_outputs((shape.num_heads + 2 * shape.num_kv_heads) * shape.head_size)
        attended_width = shape.num_heads * shape.head_size

        def operands(width: int) -> Tensor:
            return torch.zeros(num_tokens, padded_outputs(width) + _GAP, dtype=operand)

        hidden = torch.zeros(num_tokens, hidden_width)
        squares = torch.empty(num_tokens, hidden_width // PANEL)
        x, attended = operands(hidden_width), operands(attended_width)
        activation = operands(shape.intermediate_size)
        query = torch.empty(num_tokens, *heads, dtype=self._caches[0][0].dtype)
        qkv = torch.empty(num_tokens, qkv_width)
        tensors = (hidden, squares, x, qkv, query, attended, activation)
        kept = _Kept(
            hidden[:, : shape.hidden_size],
            x[:, : shape.hidden_size],
            Buffers(*(as_array(tensor) for tensor in tensors)),
        )
        if num_tokens <= _MAX_KEPT_TOKENS:
            self._kept[num_tokens] = kept
        return kept
