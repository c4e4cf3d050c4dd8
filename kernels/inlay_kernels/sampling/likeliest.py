"""The most likely token of each row of logits."""

from typing import NamedTuple

from torch import Tensor


class Likeliest(NamedTuple):
    """Of some rows; logarithms are NaN for rows that hold NaN."""

    token_ids: Tensor
    """int64 (rows,): the lower one among equals."""
    logprobs: Tensor
    """float32 (rows,): their logits minus the normalisers."""
    normalisers: Tensor
    """float32 (rows,): log(sum(exp(row)))."""

    def part(self, rows: slice) -> "Likeliest":
        """Of some of the rows."""
        return Likeliest(*(part[rows] for part in self))
