"""Batches of one step after the other: decode rows that go on are laid out where they stand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from inlay_shard.batch import FlatBatch, Row, flatten

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
            decoding.go_on(rows)
            return decoding.batch.to(self._device)
        self.forget()
        batch = flatten(rows, block_size=self._block_size, num_axes=self._num_axes)
        if _decodes(rows, batch):
            num_spare = _SPARE_BLOCKS if self._device.type == "cpu" else 0
            self._decoding = _Decoding(rows, _widened(batch, num_spare), self._block_size)
            batch = self._decoding.batch
        return batch.to(self._device)

    def can_go_on(self) -> bool:
        """Whether the batch of the last call holds all that its rows need for one token more."""
        return self._decoding is not None and self._decoding.can_go_on()

    def forget(self) -> None:
        """Hold no rows any more, nor what their sequences hold; the next ones are laid out anew."""
        self._decoding = None


def _decodes(rows: Sequence[Row], batch: FlatBatch) -> bool:
    """Whether each row is one token behind its prompt or its images."""
    is_plain = batch.image_features is None and batch.attention.stops is None
    return is_plain and len(batch.token_ids) == len(rows)


def _widened(batch: FlatBatch, num_spare: int) -> FlatBatch:
    """The same batch with room for more blocks in its tables."""
    tables = functional.pad(batch.attention.block_tables, (0, num_spare))
    return replace(batch, attention=replace(batch.attention, block_tables=tables))


class _Decoding:
    """A batch of one token a row, in main memory, with its numbers as arrays to be changed."""

    def __init__(self, rows: Sequence[Row], batch: FlatBatch, block_size: int) -> None:
        self.batch = batch
        self._rows = rows
        self._block_size = block_size
        self._token_ids = batch.token_ids.numpy()
        self._positions = batch.position_ids.numpy()
        self._lengths = batch.attention.context_lengths.numpy()
        self._tables = batch.attention.block_tables.numpy()
        self._slots = batch.attention.slots.numpy()
        self._num_left = self._tables.shape[1] * block_size - max(row.end for row in rows)
        """Steps for which the tables are wide enough."""
        self._num_within = self._until_next_block()
        """Steps in which no row begins a block."""

    def is_followed_by(self, rows: Sequence[Row]) -> bool:
        """Whether these are the same rows, each one token further, and fit into the tables."""
        if len(rows) != len(self._rows) or self._num_left == 0:
            return False
        for row, before in zip(rows, self._rows, strict=True):
            if row.sequence is not before.sequence or row.start != before.end:
                return False
            if row.end != row.start + 1 or row.sequence.num_forced or _is_in_images(row):
                return False
        return True

    def can_go_on(self) -> bool:
        """Whether the next token of each row has a slot; all block tables say which then."""
        return self._num_left > 0 and (self._num_within > 0 or self._can_enter_blocks())

    def _can_enter_blocks(self) -> bool:
        """Put the blocks into the tables that rows enter with their next token, if they are known
        already."""
        for place, row in enumerate(self._rows):
            number, offset = divmod(row.end, self._block_size)
            if offset == 0:
                if number == len(row.sequence.blocks):
                    return False
                self._tables[place, number] = row.sequence.blocks.block_ids[number]
        return True

    def go_on(self, rows: Sequence[Row]) -> None:
        """Lay out the rows that follow, unless whoever computed those before has done so."""
        self._rows = rows
        is_entering = self._num_within == 0
        if self._lengths[0] < rows[0].end:
            self._move_on(is_entering=is_entering)
        self._num_left -= 1
        self._num_within = self._until_next_block() if is_entering else self._num_within - 1

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

    def _until_next_block(self) -> int:
        return self._block_size - 1 - int((self._slots % self._block_size).max())


def _is_in_images(row: Row) -> bool:
    """Whether the row is in a prompt with images, whose positions need not count up."""
    sequence = row.sequence
    return sequence.features is not None and row.start <= sequence.num_prompt_tokens
