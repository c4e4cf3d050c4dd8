"""What a paged-attention kernel must know about one flattened batch of sequences."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttentionBatch:
    """The rows of one step, laid one after the other in a single token dimension.

    Row r owns the tokens [row_starts[r], row_starts[r + 1]) of the flattened batch. They are the
    last tokens of its context: the token at place i of a row with n tokens has the position
    context_lengths[r] - n + i. Position p of row r lives in slot
    block_tables[r, p // block_size] * block_size + p % block_size of the cache.
    """

    row_starts: Tensor
    """int32 (rows + 1,): first token of each row, then the number of tokens."""
    context_lengths: Tensor
    """int32 (rows,): tokens that each row can look back on, this step's own included."""
    block_tables: Tensor
    """int32 (rows, max_blocks): blocks of each row; entries past its context are never read."""
    slots: Tensor
    """int64 (tokens,): where the key and value of each token are written."""
    stops: Tensor | None = None
    """int32 (tokens,): each token sees the positions of its row below this number, later ones of
    its own image among them. None: each sees itself and what is before it."""

    @property
    def num_rows(self) -> int:
        """Rows of the batch."""
        return self.context_lengths.shape[0]

    def to(self, device: torch.device | str) -> "AttentionBatch":
        """The same batch with its tensors on `device`."""
        return AttentionBatch(
            row_starts=self.row_starts.to(device),
            context_lengths=self.context_lengths.to(device),
            block_tables=self.block_tables.to(device),
            slots=self.slots.to(device),
            stops=None if self.stops is None else self.stops.to(device),
        )
