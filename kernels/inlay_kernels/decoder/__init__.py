"""A whole text tower as one compiled loop for CPUs, over weights packed for it."""

from inlay_kernels.decoder.arrays import Shape
from inlay_kernels.decoder.decoder import Decoder
from inlay_kernels.decoder.linear import StreamedLinear
from inlay_kernels.decoder.weights import LayerWeights, PackedTower

__all__ = ["Decoder", "LayerWeights", "PackedTower", "Shape", "StreamedLinear"]
