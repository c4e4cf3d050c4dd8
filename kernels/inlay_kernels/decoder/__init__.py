"""A whole text tower as one compiled loop for CPUs, over weights packed for it."""

from inlay_kernels.decoder.arrays import Inputs, Shape
from inlay_kernels.decoder.cache_layout import fits, padded_width
from inlay_kernels.decoder.decoder import Decoder
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.linear import StreamedLinear
from inlay_kernels.decoder.standing import StandingBatch
from inlay_kernels.decoder.weights import LayerWeights, PackedTower

__all__ = [
    "PANEL",
    "Decoder",
    "Inputs",
    "LayerWeights",
    "PackedTower",
    "Shape",
    "StandingBatch",
    "StreamedLinear",
    "fits",
    "padded_width",
]
