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

    def first(self, num_rows: int) -> "Likeliest":
        """Of the first rows; itself if those are all."""
        if num_rows == len(self.token_ids):
            return self
        return Likeliest(*(part[:num_rows] for part in self))
