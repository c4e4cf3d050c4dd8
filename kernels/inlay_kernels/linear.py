"""Linear layers whose weights are laid out once for the CPU's matrix unit."""

from torch import nn


def pack_linears(model: nn.Module) -> None:
    """Replace plain CPU `nn.Linear` modules of a loaded model by pre-packed ones, in place."""
