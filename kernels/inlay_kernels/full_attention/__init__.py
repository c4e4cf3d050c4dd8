"""Attention in which every token sees every other, as in encoders of images."""

from inlay_kernels.full_attention.cpu import can_attend, full_attention

__all__ = ["can_attend", "full_attention"]
