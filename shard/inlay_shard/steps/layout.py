"""Batches of one step after the other: decode rows that go on are laid out where they stand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from inlay_kernels import AttentionBatch
from inlay_shard.steps.batch import FlatBatch, Row, flatten

_SPARE_BLOCKS = 8
"""Blocks of a row that tables have room for behind those that it has, on a CPU: compiled calls keep
the arguments that they were given as long as tables are wide enough. CUDA graphs have a width."""


class Layouts:
    """Lays out the rows of the steps of an engine."""

    def __init__(self, *, block_size: int, num_axes: int, device: torch.device) -> None:
        """num_axes: of positions. device: of the model."""
        self._block_size = block_size
        self._num_axes = num_axes
        self._device = device
        self._decoding: _Decoding | None = None

    def of(self, rows: Sequence[Row]) -> FlatBatch:
        """The batch of rows whose blocks are there and whose images are embedded.

        It is good until the next call, which may move its numbers on instead of making new ones;
        or whoever computes it may have done so, if it can go on.
        """
        decoding = self._decoding
        if decoding is not None and decoding.is_followed_by(rows):
            return decoding.go_on(rows).to(self._device)
        self.forget()
        batch = flatten(rows, block_size=self._block_size, num_axes=self._num_axes)
        if _decodes(rows, batch):
            num_spare = _SPARE_BLOCKS if self._device.type == "cpu" else 0
            batch = _widened(batch, num_spare)
            self._decoding = _Decoding(rows, batch, self._block_size)
        return batch.to(self._device)

    def can_go_on(self) -> bool:
        """Whether the batch of the last call holds all that its rows need for one token more."""
        return self._decoding is not None and self._decoding.can_go_on()

    def forget(self) -> None:
        """Hold no rows any more, nor what their sequences hold; the next ones are laid out anew."""
        self._decoding = None


def _decodes(rows: Sequence[Row], batch: FlatBatch) -> bool:
    """Whether each row is behind its prompt or its images, and goes on by one token."""
    is_plain = batch.image_features is None and batch.attention.stops is None
    return is_plain and all(map(_goes_on, rows))


def _goes_on(row: Row) -> bool:
    """Whether the row is one token, and those that were forced behind it."""
    return row.end == row.start + 1 + row.sequence.num_forced


def _widened(batch: FlatBatch, num_spare: int) -> FlatBatch:
    """The same batch with room for more blocks in its tables."""
    tables = functional.pad(batch.attention.block_tables, (0, num_spare))
    return replace(batch, attention=replace(batch.attention, block_tables=tables))


class _Decoding:
    """Rows that go on, in main memory: their tables and last tokens, as arrays to be changed."""

    def __init__(self, rows: Sequence[Row], batch: FlatBatch, block_size: int) -> None:
        self._lasts = _lasts(rows, batch)
        self._rows = rows
        self._block_size = block_size
        self._token_ids = self._lasts.token_ids.numpy()
        self._positions = self._lasts.position_ids.numpy()
        self._lengths = self._lasts.attention.context_lengths.numpy()
        self._tables = self._lasts.attention.block_tables.numpy()
        self._slots = self._lasts.attention.slots.numpy()
        self._num_within = self._until_next_block()
        """Tokens more with which no row begins a block."""

    def is_followed_by(self, rows: Sequence[Row]) -> bool:
        """Whether these are the same rows, each one token further and those that were forced
        behind it, and fit into the tables."""
        if len(rows) != len(self._rows):
            return False
        num_slots = self._tables.shape[1] * self._block_size
        for row, before in zip(rows, self._rows, strict=True):
            if row.sequence is not before.sequence or row.start != before.end:
                return False
            if row.end > num_slots or not _goes_on(row) or _is_in_images(row):
                return False
        return True

    def can_go_on(self) -> bool:
        """Whether the next token of each row has a slot; all block tables say which then."""
        return self._num_within > 0 or self._can_enter_blocks()

    def _can_enter_blocks(self) -> bool:
        """Put the blocks into the tables that rows enter with their next token, if they are known
        already and there is room."""
        for place, row in enumerate(self._rows):
            number, offset = divmod(row.end, self._block_size)
            if offset == 0:
                if number == min(len(row.sequence.blocks), self._tables.shape[1]):
                    return False
                self._tables[place, number] = row.sequence.blocks.block_ids[number]
        return True

    def go_on(self, rows: Sequence[Row]) -> FlatBatch:
        """Lay out the rows that follow, unless whoever computed those before has done so."""
        self._rows = rows
        if any(row.sequence.num_forced for row in rows):
            return self._go_far()
        is_entering = self._num_within == 0
        if self._lengths[0] < rows[0].end:
            self._move_on(is_entering=is_entering)
        self._num_within = self._until_next_block() if is_entering else self._num_within - 1
        return self._lasts

    def _move_on(self, *, is_entering: bool) -> None:
        self._token_ids[:] = [row.sequence.token_ids[row.start] for row in self._rows]
        self._positions += 1
        self._lengths += 1
        self._slots += 1
        if is_entering:
            self._enter_blocks()

    def _enter_blocks(self) -> None:
        """Give rows their next block that ran out of one: their slot has gone past its end."""
        for place in np.flatnonzero(self._slots % self._block_size == 0).tolist():
            row = self._rows[place]
            number = row.start // self._block_size
            block_id = int(row.sequence.blocks.block_ids[number])
            self._tables[place, number] = block_id
            self._slots[place] = block_id * self._block_size

    def _go_far(self) -> FlatBatch:
        """Rows of several tokens: other arrays over the same tables.

        Lists, as between two forward passes each operation on an array takes ten times as long as
        in a loop, whatever its size.
        """
        token_ids: list[int] = []
        own: list[int] = []
        owners: list[int] = []
        aheads: list[int] = []
        before_forced: list[int] = []
        starts = [0]
        for place, row in enumerate(self._rows):
            num_tokens = row.end - row.start
            token_ids += row.sequence.token_ids[row.start : row.end]
            own += range(row.start, row.end)
            owners += [place] * num_tokens
            aheads += range(1, num_tokens + 1)
            before_forced += range(starts[-1], starts[-1] + num_tokens - 1)
            starts.append(starts[-1] + num_tokens)
        ends = [start - 1 for start in starts[1:]]
        positions = self._positions[:, owners] + aheads
        slots = self._slots_of(owners, np.array(own))
        self._lengths[:] = [row.end for row in self._rows]
        self._positions[:], self._slots[:] = positions[:, ends], slots[ends]
        self._num_within = self._until_next_block()
        lasts = self._lasts
        return FlatBatch(
            token_ids=torch.from_numpy(np.array(token_ids)),
            position_ids=torch.from_numpy(positions),
            attention=AttentionBatch(
                row_starts=torch.from_numpy(np.array(starts, np.int32)),
                context_lengths=lasts.attention.context_lengths,
                block_tables=lasts.attention.block_tables,
                slots=torch.from_numpy(slots),
            ),
            kept=torch.from_numpy(np.array(ends + before_forced)),
            image_places=lasts.image_places,
            image_features=None,
        )

    def _slots_of(self, owners: list[int], own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of tokens at these positions of these rows."""
        self._put_blocks()
        numbers, offsets = np.divmod(own, self._block_size)
        return self._tables[owners, numbers] * np.int64(self._block_size) + offsets

    def _put_blocks(self) -> None:
        """Put the blocks into the tables that rows enter with any of their tokens."""
        for place, row in enumerate(self._rows):
            first, last = row.start // self._block_size, (row.end - 1) // self._block_size
            if first != last or row.start % self._block_size == 0:
                entered = row.sequence.blocks.block_ids[first : last + 1]
                self._tables[place, first : last + 1] = entered

    def _until_next_block(self) -> int:
        return self._block_size - 1 - int((self._slots % self._block_size).max())


def _lasts(rows: Sequence[Row], batch: FlatBatch) -> FlatBatch:
    """A batch of the last token of each row, over the same tables; itself if all are last ones."""
    if len(rows) == len(batch.token_ids):
        return batch
    ends = batch.kept[: len(rows)]
    attention = replace(
        batch.attention,
        row_starts=torch.arange(len(rows) + 1, dtype=torch.int32),
        slots=batch.attention.slots[ends],
    )
    return replace(
        batch,
        token_ids=batch.token_ids[ends],
        position_ids=batch.position_ids[:, ends],
        attention=attention,
        kept=torch.arange(len(rows)),
    )


def _is_in_images(row: Row) -> bool:
    """Whether the row is in a prompt with images, whose positions need not count up."""
    sequence = row.sequence
    return sequence.features is not None and row.start <= sequence.num_prompt_tokens
