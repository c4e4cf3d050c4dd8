"""A step's rows laid out for the model: one flattened batch, built once and read by every layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inlay_kernels import AttentionBatch
from inlay_shard.sequence import RunningSequence


@dataclass(frozen=True, slots=True)
class Row:
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
    ends: Tensor
    """int64 (rows,): place of each row's last token."""
    before_forced: Tensor
    """int64 (n,): places of the tokens in front of forced ones, row by row."""
    image_places: Tensor
    """int64 (n,): tokens that stand for images."""
    image_features: Tensor | None
    """(n, width): what stands at `image_places`; None if n is 0."""


def flatten(
    rows: Sequence[Row], *, block_size: int, num_axes: int, device: torch.device
) -> FlatBatch:
    """Lay out rows whose blocks are there and whose images are embedded."""
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

    def put(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    return FlatBatch(
        token_ids=put(token_ids),
        position_ids=put(positions),
        attention=AttentionBatch(
            row_starts=put(starts.astype(np.int32)),
            context_lengths=put((first + counts).astype(np.int32)),
            block_tables=put(tables),
            slots=put(slots),
            stops=None if stops is None else put(stops),
        ),
        ends=put(starts[1:] - 1),
        before_forced=put(_before_forced(rows, starts)),
        image_places=put(places),
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


def _before_forced(rows: Sequence[Row], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places whose logits say what the model makes of the forced tokens: (n,)."""
    places = [
        np.arange(end - 1 - num_forced, end - 1)
        for row, end in zip(rows, starts[1:].tolist(), strict=True)
        if (num_forced := row.sequence.num_forced)
    ]
    return np.concatenate(places) if places else np.zeros(0, np.int64)


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
