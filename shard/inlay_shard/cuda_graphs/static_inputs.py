"""What a recorded decode step reads: always the same tensors, with new numbers in them."""

import torch
from torch import Tensor

from inlay_kernels import AttentionBatch
from inlay_shard.cuda_graphs.recording import Computation
from inlay_shard.model.cache import KVPool
from inlay_shard.model.network import LogitsOf


class StaticInputs:
    """Rows of one token each. Those without a sequence are idle: they write and read scratch.

    Row r of size   [0, num_rows)                 [num_rows, size)
    token, position of its sequence               0, 0
    length, blocks  of its sequence               1, the first scratch block
    slot            in a block of its sequence    r of the scratch blocks, which belong to nobody
    """

    def __init__(self, size: int, pool: KVPool, *, num_axes: int, table_width: int) -> None:
        """All rows are idle.

        size: rows. num_axes: of positions. table_width: blocks that a row has at most.
        """
        device = pool.device
        own = torch.arange(size, device=device)
        self.size = size
        self.token_ids = torch.zeros(size, dtype=torch.int64, device=device)
        """int64 (size,)."""
        self.position_ids = torch.zeros((num_axes, size), dtype=torch.int64, device=device)
        """int64 (axes, size)."""
        self.keep = own
        """int64 (size,): every token chooses."""
        self._scratch_block = pool.scratch_block
        self._idle_slots = self._scratch_block * pool.block_size + own
        self._lengths = torch.ones(size, dtype=torch.int32, device=device)
        self._tables = torch.full(
            (size, table_width), self._scratch_block, dtype=torch.int32, device=device
        )
        self._slots = self._idle_slots.clone()
        self.num_rows = 0
        """Rows of the step that was put in."""
        self.attention = AttentionBatch(
            row_starts=torch.arange(size + 1, dtype=torch.int32, device=device),
            context_lengths=self._lengths,
            block_tables=self._tables,
            slots=self._slots,
        )
        """What attention reads."""

    def load(self, token_ids: Tensor, position_ids: Tensor, batch: AttentionBatch) -> None:
        """Put in a step of up to `size` rows of one token each.

        token_ids: (rows,). position_ids: (axes, rows). batch: no wider than the tables.
        """
        num_rows, num_blocks = batch.block_tables.shape
        self._idle(num_rows, self.num_rows)
        self.num_rows = num_rows
        self.token_ids[:num_rows].copy_(token_ids)
        self.position_ids[:, :num_rows].copy_(position_ids)
        self._lengths[:num_rows].copy_(batch.context_lengths)
        self._tables[:num_rows, :num_blocks].copy_(batch.block_tables)
        self._slots[:num_rows].copy_(batch.slots)

    def _idle(self, start: int, stop: int) -> None:
        """Let the rows [start, stop) be idle; often none."""
        if start >= stop:
            return
        self.token_ids[start:stop].zero_()
        self.position_ids[:, start:stop].zero_()
        self._lengths[start:stop].fill_(1)
        self._tables[start:stop, 0].fill_(self._scratch_block)
        self._slots[start:stop].copy_(self._idle_slots[start:stop])


def over(inputs: StaticInputs, compute: LogitsOf, pool: KVPool) -> Computation:
    """A step over static inputs: logits (size, vocab_size)."""

    def compute_step() -> Tensor:
        pool.current.batch = inputs.attention
        return compute(inputs.token_ids, inputs.position_ids, inputs.keep, None)

    return compute_step
