"""A step's rows laid out for the model: one flattened batch, built once and read by every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inlay_kernels import AttentionBatch
from inlay_shard.states.parts import StateRow
from inlay_shard.steps.sequence import RunningSequence


class Row(NamedTuple):
    """Tokens [start, end) of a sequence, which a step computes."""

    sequence: RunningSequence
    start: int
    end: int

    @property
    def num_tokens(self) -> int:
        """Tokens to compute."""
        return self.end - self.start

    @property
    def chooses(self) -> bool:
        """Whether the row reaches the end of its known tokens, and so chooses one more."""
        return self.end == len(self.sequence.token_ids)

    @property
    def of_states(self) -> StateRow:
        """The row as layers see it that keep states."""
        return StateRow(self.sequence.state_slot, self.num_tokens, self.start > 0)

    @property
    def forced_ids(self) -> list[int]:
        """The last of its tokens, which the grammar forced; often none."""
        return self.sequence.token_ids[self.end - self.sequence.num_forced : self.end]


@dataclass(frozen=True, kw_only=True)
class FlatBatch:
    """Rows one after the other in a single token dimension, on the model's device."""

    token_ids: Tensor
    """int64 (tokens,)."""
    position_ids: Tensor
    """int64 (axes, tokens)."""
    attention: AttentionBatch
    kept: Tensor
    """int64 (rows + n,): places whose logits may be wanted. Each row's last token, then the tokens
    in front of forced ones, row by row."""
    image_places: Tensor
    """int64 (n,): tokens that stand for images."""
    image_features: Tensor | None
    """(n, width): what stands at `image_places`; None if n is 0."""

    def to(self, device: torch.device) -> "FlatBatch":
        """The same batch with its tensors on `device`; itself if that is the CPU."""
        if device.type == "cpu":
            return self

        def put(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        attention = self.attention
        return FlatBatch(
            token_ids=put(self.token_ids),
            position_ids=put(self.position_ids),
            attention=AttentionBatch(
                row_starts=put(attention.row_starts),
                context_lengths=put(attention.context_lengths),
                block_tables=put(attention.block_tables),
                slots=put(attention.slots),
                stops=None if attention.stops is None else put(attention.stops),
            ),
            kept=put(self.kept),
            image_places=put(self.image_places),
            image_features=self.image_features,
        )


def flatten(rows: Sequence[Row], *, block_size: int, num_axes: int) -> FlatBatch:
    """Lay out rows whose blocks are there and whose images are embedded, in main memory; features
    stay on the device where they are."""
    counts = np.fromiter((row.num_tokens for row in rows), np.int64, len(rows))
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    first = np.fromiter((row.start for row in rows), np.int64, len(rows))
    own = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, counts)
    tables = _block_tables(rows, block_size)
    row_of = np.repeat(np.arange(len(rows)), counts)
    slots = tables[row_of, own // block_size].astype(np.int64) * block_size + own % block_size
    token_ids = np.fromiter(
        (token_id for row in rows for token_id in row.sequence.token_ids[row.start : row.end]),
        np.int64,
        len(own),
    )
    positions = np.tile(own, (num_axes, 1))
    _put_image_positions(positions, rows, starts)
    places, features = _images(rows, starts)
    stops = _stops(rows, starts, own)
    return FlatBatch(
        token_ids=torch.from_numpy(token_ids),
        position_ids=torch.from_numpy(positions),
        attention=AttentionBatch(
            row_starts=torch.from_numpy(starts.astype(np.int32)),
            context_lengths=torch.from_numpy((first + counts).astype(np.int32)),
            block_tables=torch.from_numpy(tables),
            slots=torch.from_numpy(slots),
            stops=None if stops is None else torch.from_numpy(stops),
        ),
        kept=torch.from_numpy(_kept(rows, starts)),
        image_places=torch.from_numpy(places),
        image_features=features,
    )


def _block_tables(rows: Sequence[Row], block_size: int) -> NDArray[np.int32]:
    """int32 (rows, the most blocks that a row's context needs)."""
    num_blocks = -(-max(row.end for row in rows) // block_size)
    tables = np.zeros((len(rows), num_blocks), np.int32)
    for table, row in zip(tables, rows, strict=True):
        block_ids = row.sequence.blocks.block_ids[:num_blocks]
        table[: len(block_ids)] = block_ids
    return tables


def _put_image_positions(
    positions: NDArray[np.int64], rows: Sequence[Row], starts: NDArray[np.int64]
) -> None:
    """Put the positions of prompts with images where they differ from counting up."""
    for row, start in zip(rows, starts.tolist(), strict=False):
        features = row.sequence.features
        if features is not None:
            own = features.positions(row.start, row.end)
            if own is not None:
                positions[:, start : start + row.num_tokens] = own


def _stops(
    rows: Sequence[Row], starts: NDArray[np.int64], own: NDArray[np.int64]
) -> NDArray[np.int32] | None:
    """(tokens,): each token sees the positions below; None when none sees any behind its own.

    own: position of each token (tokens,).
    """
    stops: NDArray[np.int32] | None = None
    for row, start in zip(rows, starts.tolist(), strict=False):
        features = row.sequence.features
        ahead = None if features is None else features.stops(row.start, row.end)
        if ahead is not None:
            stops = (own + 1).astype(np.int32) if stops is None else stops
            stops[start : start + row.num_tokens] = ahead
    return stops


def _kept(rows: Sequence[Row], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last token of each row, and those whose logits say what the model makes of forced ones:
    (rows + n,)."""
    before_forced = [
        np.arange(end - 1 - num_forced, end - 1)
        for row, end in zip(rows, starts[1:].tolist(), strict=True)
        if (num_forced := row.sequence.num_forced)
    ]
    return np.concatenate([starts[1:] - 1, *before_forced])


def _images(
    rows: Sequence[Row], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Tensor | None]:
    """Places (n,) in the flattened batch that stand for images, and their features (n, width)."""
    places: list[NDArray[np.int64]] = []
    features: list[Tensor] = []
    for row, start in zip(rows, starts.tolist(), strict=False):
        if row.sequence.features is None:
            continue
        own, part = row.sequence.features.within(row.start, row.end)
        if len(own):
            places.append(own - row.start + start)
            features.append(part)
    if not places:
        return np.zeros(0, np.int64), None
    return np.concatenate(places), torch.cat(features)
