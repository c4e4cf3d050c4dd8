"""A text tower of the common kind on the CPU: embeddings in, last hidden states or logits out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.batch import AttentionBatch
from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import crew
from inlay_kernels.decoder.arrays import Array, Batch, Buffers, Cache, Inputs, Kept, Rating
from inlay_kernels.decoder.cache_layout import fits, padded_width
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.kept_tokens import batch_of, tokens_from_kept
from inlay_kernels.decoder.layers import num_phases, run_layers, run_to_logits
from inlay_kernels.decoder.linear import StreamedLinear
from inlay_kernels.decoder.packing import padded_outputs
from inlay_kernels.decoder.rounds import Rounds
from inlay_kernels.decoder.standing import StandingBatch
from inlay_kernels.decoder.weights import PackedTower
from inlay_kernels.memory import lazy_zeros
from inlay_kernels.scan import num_parts

_GAP = 32
"""Numbers between the rows of an operand, so that not all rows meet in the same cache lines."""
_NO_STOPS = np.empty(0, np.int32)


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
        self._number = as_array(torch.empty(0, dtype=tower.dtype))
        self._buffers = self._make_buffers(1)
        self._kept = self._zeros(1, tower.shape.hidden_size)
        self._logits = torch.empty(0, 0)
        self._standing: StandingBatch | None = None

    def __call__(
        self,
        embeddings: Tensor,
        batch: AttentionBatch,
        cosines: Tensor,
        sines: Tensor,
    ) -> Tensor:
        """Last hidden states (tokens, hidden_size) in the type of the weights.

        embeddings: (tokens, hidden_size). cosines, sines: (tokens, rotary_size) of the rotation.
        """
        num_tokens = len(embeddings)
        own = np.arange(num_tokens)
        cosines, sines = cosines.float().contiguous(), sines.float().contiguous()
        rows = as_array(embeddings.contiguous())
        inputs = Inputs(rows, own, cosines.numpy(), sines.numpy(), own)
        kept = self._room_to_keep(num_tokens)
        arguments = self._arguments(inputs, _arrays_of(batch), own, kept)
        count = num_phases(self._tower.shape.num_layers, has_head=False)
        crew.run(run_layers, count, *arguments)
        last = kept[:, : self._tower.shape.hidden_size]
        return last.to(self._tower.dtype, copy=True)

    def stand(
        self, inputs: Inputs, batch: AttentionBatch, keep: Tensor, head: StreamedLinear
    ) -> StandingBatch:
        """What a head makes of the last hidden states of some tokens, as often as it is asked for:
        whoever holds the arrays of `inputs` and `batch` may change their numbers in between.

        The logits are those of `head` over the hidden states that a call gives. keep: int64 (n,),
        places of the tokens. A batch that stood before is given up, and its logits with it.
        """
        num_rows = len(keep)
        logits = self._room_for_logits(num_rows, head)
        rating = _make_rating(num_rows, head.out_features)
        kept = self._room_to_keep(num_rows)
        arguments = self._arguments(inputs, _arrays_of(batch), keep.numpy(), kept)
        rounds = Rounds(
            crew.STEPS,
            torch.get_num_threads(),
            run_to_logits,
            num_phases(self._tower.shape.num_layers, has_head=True),
            (*arguments, head.arrays, as_array(logits), rating),
            self._caches,
        )
        self._standing = StandingBatch(rounds, logits, rating)
        return self._standing

    def _arguments(
        self, inputs: Inputs, batch: Batch, keep: Array, hidden: Tensor
    ) -> tuple[Any, ...]:
        """Of `run_layers`, once nobody computes a batch any more that stood before.

        keep: tokens whose last states are to be in `hidden`.
        """
        if self._standing is not None:
            self._standing.give_up()
            self._standing = None
        tokens = tokens_from_kept(batch, keep)
        places = np.searchsorted(tokens, keep)
        kept = Kept(tokens, batch_of(batch, tokens), places, as_array(hidden), self._number)
        return (
            self._tower.shape,
            self._tower.arrays,
            self._cache,
            inputs,
            batch,
            self._buffers_for(len(inputs.token_ids)),
            self._element,
            kept,
        )

    def _room_to_keep(self, num_tokens: int) -> Tensor:
        """For last hidden states as linear layers multiply them, (num_tokens, stride)."""
        if len(self._kept) < num_tokens:
            self._kept = self._zeros(num_tokens, self._tower.shape.hidden_size)
        return self._kept[:num_tokens]

    def _room_for_logits(self, num_rows: int, head: StreamedLinear) -> Tensor:
        """(num_rows, outputs). For 44 rows of 49,280 the system takes half a millisecond to give
        new pages, while the head is computed."""
        known = self._logits
        is_alike = known.dtype == head.dtype and known.shape[1] == head.out_features
        if not is_alike or len(known) < num_rows:
            self._logits = _zeros(num_rows, head.out_features, head.dtype)
        return self._logits[:num_rows]

    def _buffers_for(self, num_tokens: int) -> Buffers:
        """The first rows of those of the largest batch so far: new ones would cost more than a
        twentieth of a batch of 512, mostly for pages that the system gives."""
        if len(self._buffers.hidden) < num_tokens:
            self._buffers = self._make_buffers(num_tokens)
        return Buffers(*(buffer[:num_tokens] for buffer in self._buffers))

    def _make_buffers(self, num_tokens: int) -> Buffers:
        shape, cache_dtype = self._tower.shape, self._caches[0][0].dtype
        width = padded_outputs(shape.hidden_size)
        num_queries = shape.num_heads * shape.head_size
        qkv_width = padded_outputs(num_queries + 2 * shape.num_kv_heads * shape.head_size)
        query = _zeros(num_tokens, num_queries, cache_dtype)
        tensors = (
            _zeros(num_tokens, width, torch.float32),
            _zeros(num_tokens, width // PANEL, torch.float32),
            self._zeros(num_tokens, width),
            _zeros(num_tokens, qkv_width, torch.float32),
            query.view(num_tokens, shape.num_heads, shape.head_size),
            self._zeros(num_tokens, num_queries),
            self._zeros(num_tokens, shape.intermediate_size),
        )
        return Buffers(*(as_array(tensor) for tensor in tensors))

    def _zeros(self, num_tokens: int, width: int) -> Tensor:
        """An operand, with room between its rows."""
        return _zeros(num_tokens, padded_outputs(width) + _GAP, self._tower.operand_dtype)


def _zeros(num_rows: int, width: int, dtype: torch.dtype) -> Tensor:
    """(num_rows, width)."""
    return lazy_zeros(num_rows * width, dtype).view(num_rows, width)


def _arrays_of(batch: AttentionBatch) -> Batch:
    return Batch(
        batch.row_starts.numpy(),
        batch.context_lengths.numpy(),
        batch.block_tables.numpy(),
        batch.slots.numpy(),
        _NO_STOPS if batch.stops is None else batch.stops.numpy(),
    )


def _make_rating(num_rows: int, num_logits: int) -> Rating:
    parts = (num_rows, num_parts(num_logits))
    return Rating(
        token_ids=np.empty((2, num_rows), np.int64),
        logprobs=np.empty((2, num_rows), np.float32),
        normalisers=np.empty((2, num_rows), np.float32),
        tops=np.empty((2, num_rows), np.float32),
        part_tops=np.empty(parts, np.float32),
        part_totals=np.empty(parts, np.float32),
    )
