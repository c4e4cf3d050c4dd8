"""Weights of linear layers laid out in the order in which `products.multiply` reads them.

A matrix (outputs, inputs) becomes panels of PANEL outputs, zeros behind the last. Within a panel
the inputs follow one another, one at a time (float32) or two at a time (bfloat16, int8):

    float32    [inputs][PANEL]
    bfloat16   [inputs / 2][PANEL][2]
    int8       [inputs / 2][PANEL / LANES][2][LANES]
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from inlay_kernels.decoder.forms import LANES, PANEL


def padded_inputs(num_inputs: int) -> int:
    """Inputs of a packed layer: an even number."""
    return num_inputs + num_inputs % 2


def padded_outputs(num_outputs: int) -> int:
    """Outputs of a packed layer: whole panels."""
    return -(-num_outputs // PANEL) * PANEL


def packed_size(num_outputs: int, num_inputs: int) -> int:
    """Numbers in a packed layer."""
    return padded_outputs(num_outputs) * padded_inputs(num_inputs)


def pack(weight: Tensor) -> Tensor:
    """A matrix (outputs, inputs) of float32, bfloat16 or int8, packed and flat."""
    num_outputs, num_inputs = weight.shape
    missing = padded_inputs(num_inputs) - num_inputs, padded_outputs(num_outputs) - num_outputs
    weight = functional.pad(weight, (0, missing[0], 0, missing[1]))
    return weight.view(_split(weight.dtype, weight.shape)).permute(_order(weight.dtype)).flatten()


def unpack(packed: Tensor, num_outputs: int, num_inputs: int) -> Tensor:
    """The matrix (outputs, inputs) that was packed."""
    order = _order(packed.dtype)
    padded = padded_outputs(num_outputs), padded_inputs(num_inputs)
    split = _split(packed.dtype, padded)
    laid_out = packed.view([split[axis] for axis in order])
    weight = laid_out.permute(np.argsort(order).tolist()).reshape(padded)
    return weight[:num_outputs, :num_inputs].contiguous()


def _split(dtype: torch.dtype, shape: tuple[int, ...]) -> list[int]:
    """Axes (panel, half, lane, step, input of the step) of a padded matrix."""
    num_together = 1 if dtype == torch.float32 else 2
    panels, steps = shape[0] // PANEL, shape[1] // num_together
    return [panels, PANEL // LANES, LANES, steps, num_together]


def _order(dtype: torch.dtype) -> list[int]:
    """How those axes follow one another when packed."""
    return [0, 3, 1, 4, 2] if dtype == torch.int8 else [0, 3, 1, 2, 4]


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (outputs, inputs) as int8, and the factor (outputs,) of each of its rows."""
    scales = weight.float().abs().amax(1).clamp(min=1e-12) / 127
    return (weight.float() / scales.unsqueeze(1)).round().to(torch.int8), scales


def interleave(gate: Tensor, up: Tensor) -> Tensor:
    """Rows of two matrices of one shape in turns of LANES: a panel holds both of its outputs."""
    missing = -len(gate) % LANES
    gate, up = (functional.pad(part, (0, 0, 0, missing)) for part in (gate, up))
    turns = [part.view(-1, LANES, part.shape[1]) for part in (gate, up)]
    return torch.stack(turns, 1).flatten(0, 2)


def padded(vector: Tensor, size: int) -> NDArray[np.float32]:
    """A vector as float32, with zeros up to `size`."""
    numbers: NDArray[np.float32] = functional.pad(
        vector.detach().float(), (0, size - len(vector))
    ).numpy()
    return numbers
