"""The weights of a text tower, moved layer by layer into the form that compiled code reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.compiled import as_array
from inlay_kernels.decoder.arrays import LINEARS, Shape, Weights
from inlay_kernels.decoder.forms import LANES
from inlay_kernels.decoder.packing import (
    interleave,
    pack,
    packed_size,
    padded,
    padded_outputs,
    quantise,
    unpack,
)
from inlay_kernels.memory import lazy_zeros
from inlay_kernels.processor import HAS_BFLOAT16_PRODUCTS

NUM_PROJECTIONS: Final = 7
"""Linear layers of a decoder layer as models have them."""


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """One decoder layer as a model has it. Weights are (outputs, inputs)."""

    projections: Sequence[Tensor]
    """Of queries, keys, values, the output of attention; gate, up, down of the MLP."""
    biases: Sequence[Tensor | None]
    """Of the same."""
    attention_norm: Tensor
    """(hidden_size,): factors of the norm before attention."""
    mlp_norm: Tensor
    """(hidden_size,): of the norm before the MLP."""
    head_norms: tuple[Tensor, Tensor] | None
    """(head_size,) each: of the norms of queries and keys."""
    attention_scale: float
    """Factor of attention scores."""
    window: int | None
    """Tokens that a token sees, its own included."""


class PackedTower:
    """The packed weights of all layers, in one piece of memory."""

    def __init__(
        self,
        shape: Shape,
        dtype: torch.dtype,
        final_norm: Tensor,
        *,
        is_quantised: bool = False,
    ) -> None:
        """Takes memory for every layer, which the system gives as layers are put.

        dtype: float32 or bfloat16, of the weights as they are put and of what is computed.
        is_quantised: whether linear layers are held in int8, with a factor for each output.
        """
        self.shape = shape
        self.dtype = dtype
        self._is_quantised = is_quantised
        self._sizes = _sizes(shape)
        starts = np.cumsum([0, *(packed_size(*size) for size in self._sizes)])
        columns = np.cumsum([0, *(padded_outputs(size[0]) for size in self._sizes)])
        self._packed = lazy_zeros(
            int(starts[-1]) * shape.num_layers, torch.int8 if is_quantised else dtype
        )
        width = padded_outputs(shape.hidden_size)
        norms = np.zeros((2 * shape.num_layers + 1, width), np.float32)
        norms[-1] = padded(final_norm, width)
        self.arrays = Weights(
            packed=as_array(self._packed),
            starts=starts,
            scales=np.ones((shape.num_layers, columns[-1]), np.float32),
            biases=np.zeros((shape.num_layers, columns[-1]), np.float32),
            columns=columns,
            norms=norms,
            head_norms=np.ones((shape.num_layers, 2, shape.head_size), np.float32),
            attention_scales=np.ones(shape.num_layers, np.float32),
            windows=np.zeros(shape.num_layers, np.int64),
        )

    @property
    def operand_dtype(self) -> torch.dtype:
        """Type of what the weights are multiplied with."""
        is_paired = self.dtype == torch.bfloat16 and HAS_BFLOAT16_PRODUCTS
        return torch.bfloat16 if is_paired else torch.float32

    def put(self, layer: int, weights: LayerWeights) -> None:
        """Pack one layer."""
        arrays = self.arrays
        for linear, matrix in enumerate(_merged(weights.projections)):
            self._put_matrix(layer, linear, matrix)
        for linear, bias in enumerate(_merged_biases(weights)):
            begin, end = arrays.columns[linear], arrays.columns[linear + 1]
            arrays.biases[layer, begin:end] = padded(bias, int(end - begin))
        width = arrays.norms.shape[1]
        arrays.norms[2 * layer] = padded(weights.attention_norm, width)
        arrays.norms[2 * layer + 1] = padded(weights.mlp_norm, width)
        for place, norm in enumerate(weights.head_norms or ()):
            arrays.head_norms[layer, place] = padded(norm, self.shape.head_size)
        arrays.attention_scales[layer] = weights.attention_scale
        arrays.windows[layer] = weights.window or 0

    def _put_matrix(self, layer: int, linear: int, matrix: Tensor) -> None:
        if self._is_quantised:
            matrix, scales = quantise(matrix)
            begin, end = self.arrays.columns[linear], self.arrays.columns[linear + 1]
            self.arrays.scales[layer, begin:end] = padded(scales, int(end - begin))
        self._part(layer, linear).copy_(pack(matrix))

    def projections(self, layer: int) -> list[Tensor]:
        """The seven matrices of a layer, unpacked to what they were before; not of int8."""
        assert not self._is_quantised
        shape = self.shape
        merged = [
            unpack(self._part(layer, linear), *size) for linear, size in enumerate(self._sizes)
        ]
        heads = [shape.num_heads, shape.num_kv_heads, shape.num_kv_heads]
        sizes = [count * shape.head_size for count in heads]
        query, key, value = torch.split(merged[0], sizes)
        turns = merged[2].view(-1, 2, LANES, self.shape.hidden_size)
        gate, up = (
            turns[:, half].flatten(0, 1)[: shape.intermediate_size].contiguous() for half in (0, 1)
        )
        return [query.clone(), key.clone(), value.clone(), merged[1], gate, up, merged[3]]

    def _part(self, layer: int, linear: int) -> Tensor:
        """One packed linear layer within the whole."""
        starts = self.arrays.starts
        base = layer * int(starts[-1])
        return self._packed[base + int(starts[linear]) : base + int(starts[linear + 1])]


def _sizes(shape: Shape) -> list[tuple[int, int]]:
    """(outputs, inputs) of the linear layers of LINEARS."""
    attended = shape.num_heads * shape.head_size
    keys_and_values = 2 * shape.num_kv_heads * shape.head_size
    intermediate = -(-shape.intermediate_size // LANES) * LANES
    sizes = [
        (attended + keys_and_values, shape.hidden_size),
        (shape.hidden_size, attended),
        (2 * intermediate, shape.hidden_size),
        (shape.hidden_size, shape.intermediate_size),
    ]
    assert len(sizes) == len(LINEARS)
    return sizes


def _merged(projections: Sequence[Tensor]) -> list[Tensor]:
    query, key, value, output, gate, up, down = projections
    return [torch.cat([query, key, value]), output, interleave(gate, up), down]


def _merged_biases(weights: LayerWeights) -> list[Tensor]:
    """Biases of the linear layers of LINEARS, zeros where there is none."""
    pairs = zip(weights.projections, weights.biases, strict=True)
    biases = [
        matrix.new_zeros(len(matrix)) if bias is None else bias.detach() for matrix, bias in pairs
    ]
    columns = [bias.unsqueeze(1) for bias in biases]
    return [matrix.squeeze(1) for matrix in _merged(columns)]
