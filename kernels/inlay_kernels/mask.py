"""Applying packed grammar masks to logits."""

import torch
from torch import Tensor


def apply_mask(logits: Tensor, packed_mask: Tensor) -> None:
    """Set the logits of forbidden tokens to -inf, in place.

    logits: (rows, vocab_size), any float type. packed_mask: int32 (rows, words) with
    words >= ceil(vocab_size / 32); token t of a row is allowed when bit t % 32 of word t // 32
    is set.
    """
    shifts = torch.arange(32, dtype=torch.int32, device=logits.device)
    is_forbidden = ((packed_mask.unsqueeze(-1) >> shifts) & 1) == 0
    logits.masked_fill_(is_forbidden.flatten(1)[:, : logits.shape[1]], float("-inf"))
