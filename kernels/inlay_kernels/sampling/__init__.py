"""Kernels that turn logits into tokens, in one form per kind of device."""
