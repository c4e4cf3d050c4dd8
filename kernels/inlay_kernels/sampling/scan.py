"""Compiled passes over one row of numbers."""

import numpy as np

from inlay_kernels.compiled import compiled, to_float


@compiled()
def has_nan(numbers):  # type: ignore[no-untyped-def]
    num_nan = 0
    for number in numbers:
        widened = to_float(number)
        num_nan += widened != widened
    return num_nan > 0


@compiled(never_nan=True)
def highest(numbers):  # type: ignore[no-untyped-def]
    """The highest of numbers among which there is no NaN."""
    top = np.float32(-np.inf)
    for number in numbers:
        top = max(top, to_float(number))
    return top


@compiled()
def find(numbers, wanted):  # type: ignore[no-untyped-def]
    """Place of the first number that is not below `wanted`; 0 if there is none."""
    for place in range(len(numbers)):
        if to_float(numbers[place]) >= wanted:
            return place
    return 0
