"""Rows of tokens, and a batch of them as tensors that say which token sees which."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

NOT_TAUGHT = -100
"""The label of a token that nothing is learned from."""
ROW = 208
"""Tokens of a row."""


@dataclass
class Row:
    """Lists of one entry a token; a token sees those before it in its group and segment, and those
    in segment 0 of its group.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)  # indices, in the order of their tokens
    answers: list[tuple[str, int, int]] = field(default_factory=list)  # kind, start, stop


@dataclass(frozen=True)
class Batch:
    """Rows as tensors (rows, ROW); `sees` is (rows, 1, ROW, ROW)."""

    ids: Tensor
    positions: Tensor
    sees: Tensor
    labels: Tensor
    pictures: list[int]
    answers: list[tuple[str, int, int, int]]  # kind, row, start, stop


def to_batch(rows: Sequence[Row], pad_id: int) -> Batch:
    """Rows side by side, filled up with `pad_id`."""
    shape = (len(rows), ROW)
    ids = np.full(shape, pad_id)
    positions = np.zeros(shape, dtype=np.int64)
    groups = np.full(shape, -1)
    segments = np.zeros(shape, dtype=np.int64)
    labels = np.full(shape, NOT_TAUGHT)
    for n, row in enumerate(rows):
        length = len(row.ids)
        ids[n, :length] = row.ids
        positions[n, :length] = row.positions
        groups[n, :length] = row.groups
        segments[n, :length] = row.segments
        labels[n, :length] = row.labels
    same_segment = segments[:, :, None] == segments[:, None, :]
    sees = (groups[:, :, None] == groups[:, None, :]) & np.tri(ROW, dtype=bool)
    sees &= same_segment | (segments[:, None, :] == 0)
    return Batch(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        sees=torch.from_numpy(sees[:, None]),
        labels=torch.from_numpy(labels),
        pictures=[picture for row in rows for picture in row.pictures],
        answers=[
            (kind, n, start, stop)
            for n, row in enumerate(rows)
            for kind, start, stop in row.answers
        ],
    )
