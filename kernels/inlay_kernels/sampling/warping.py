"""How the distributions of a batch are narrowed before a draw."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Warping:
    """One entry a row, all on the CPU; applied in the order of the fields."""

    temperature: Tensor
    """float32 (rows,): divides the logits; > 0, and 1 is neutral."""
    top_k: Tensor
    """int64 (rows,): keep the k most likely tokens; the vocabulary's size or more is neutral."""
    top_p: Tensor
    """float64 (rows,): keep the smallest set with this probability; 1 is neutral."""
    typical_p: Tensor
    """float64 (rows,): keep the most typical tokens with this probability; 1 is neutral."""
