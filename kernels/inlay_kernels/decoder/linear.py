"""One linear layer over packed weights, such as the head of a model over a few rows."""

import numpy as np
import torch
from torch import Tensor, nn

from inlay_kernels.arrays_in_place import stack_array
from inlay_kernels.compiled import as_array, compiled
from inlay_kernels.decoder import crew
from inlay_kernels.decoder.arrays import Head
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.instructions import to_element
from inlay_kernels.decoder.packing import (
    pack,
    padded,
    padded_inputs,
    padded_outputs,
    quantise,
)
from inlay_kernels.decoder.products import MAX_ROWS, multiply
from inlay_kernels.decoder.projections import asked_half, tile_size
from inlay_kernels.processor import HAS_BFLOAT16_PRODUCTS

_GAP = 32
"""Numbers between the rows of an operand, so that not all rows meet in the same cache lines."""


class StreamedLinear(nn.Module):
    """What an `nn.Linear` of float32 or bfloat16 computes, with its weights read once, in order."""

    def __init__(self, linear: nn.Linear, *, is_quantised: bool = False) -> None:
        """is_quantised: whether the weight is held in int8, with a factor for each output."""
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        weight = linear.weight.detach()
        self.dtype = weight.dtype
        """Of the outputs, and of the weight before it was quantised."""
        is_paired = self.dtype == torch.bfloat16 and HAS_BFLOAT16_PRODUCTS
        self._operand_dtype = torch.bfloat16 if is_paired else torch.float32
        width = padded_outputs(self.out_features)
        scales = torch.ones(self.out_features)
        if is_quantised:
            weight, scales = quantise(weight)
        bias = torch.zeros(0) if linear.bias is None else linear.bias
        self.arrays = Head(as_array(pack(weight)), padded(scales, width), padded(bias, width))
        """What compiled code reads."""

    @property
    def weight(self) -> Tensor:
        """The weight (out_features, in_features): its type and shape can be read, its numbers
        cannot."""
        return torch.empty(self.out_features, self.in_features, dtype=self.dtype, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        rows = x.reshape(-1, self.in_features)
        size = padded_inputs(self.in_features)
        operand = torch.zeros(len(rows), size + _GAP, dtype=self._operand_dtype)
        operand[:, : self.in_features] = rows
        output = torch.empty(len(rows), self.out_features, dtype=self.dtype)
        crew.run(_multiply_alone, 1, self.arrays, as_array(operand), size, as_array(output))
        return output.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """For `repr` of a model."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


@compiled(nogil=True)
def _multiply_alone(  # type: ignore[no-untyped-def]
    state, num_threads, thread, head, operand, size, output
):
    multiply_all(state, num_threads, thread, 0, head, operand, size, output)


@compiled()
def multiply_all(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, head, operand, size, output
):
    """A phase: every panel; outputs behind the last are left out.

    operand: (rows, stride), of which `size` columns are multiplied. output: (rows, outputs).
    """
    scales, biases = head.scales, head.biases
    x, stride = operand.reshape(-1), operand.shape[1]
    sums = stack_array(MAX_ROWS * PANEL, np.float32)
    num_tasks, num_done = len(scales) // PANEL, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        num_lanes = min(PANEL, output.shape[1] - task * PANEL)
        place = task * PANEL * size
        first = 0
        while first < len(output):
            count = tile_size(len(output), first)
            asked = asked_half(place, size, 0, first, len(output))
            multiply(count, head.packed, place, size, x, first * stride, stride, sums, asked)
            for row in range(count):
                for lane in range(num_lanes):
                    column = task * PANEL + lane
                    number = sums[row * PANEL + lane] * scales[column] + biases[column]
                    output[first + row, column] = to_element(output, number)
            first += count
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)
