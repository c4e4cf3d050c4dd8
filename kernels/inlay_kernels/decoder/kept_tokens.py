"""Which tokens of a batch go on, once the last layer has put keys and values into the cache."""

import numpy as np

from inlay_kernels.decoder.arrays import Array, Batch


def tokens_from_kept(batch: Batch, kept: Array) -> Array:
    """int64 (N,): tokens of each row from the first on that is kept, in order.

    kept: int64 (K,), tokens.
    """
    starts = batch.row_starts
    if len(kept) == starts[-1]:
        return np.arange(len(kept))
    firsts = starts[1:].astype(np.int64)
    np.minimum.at(firsts, np.searchsorted(starts, kept, side="right") - 1, kept)
    return np.flatnonzero(np.arange(starts[-1]) >= np.repeat(firsts, np.diff(starts)))


def batch_of(batch: Batch, tokens: Array) -> Batch:
    """The batch of some tokens alone, which are the last ones of their rows, or none of a row."""
    if len(tokens) == batch.row_starts[-1]:
        return batch
    stops = batch.stops[tokens] if len(batch.stops) > 0 else batch.stops
    starts = np.searchsorted(tokens, batch.row_starts).astype(batch.row_starts.dtype)
    return batch._replace(row_starts=starts, stops=stops)
