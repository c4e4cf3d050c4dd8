"""Compute kernels of the shard, each held against a plain torch reference."""

from inlay_kernels.batch import AttentionBatch
from inlay_kernels.linear import pack_linears
from inlay_kernels.sampling.likeliest import Likeliest
from inlay_kernels.sampling.warping import Warping
from inlay_kernels.selection import REFERENCE, Kernels, PagedAttention, select

__all__ = [
    "REFERENCE",
    "AttentionBatch",
    "Kernels",
    "Likeliest",
    "PagedAttention",
    "Warping",
    "pack_linears",
    "select",
]
