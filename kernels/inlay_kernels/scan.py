"""Compiled passes over one row of numbers, shaped so that they vectorise."""

import numpy as np

from inlay_kernels.arrays_in_place import stack_array
from inlay_kernels.compiled import compiled, exponential, to_float

_LANES = 64
"""Maxima held side by side; the machine compares a whole vector of them at a time."""
_STRETCH = 512
"""Numbers that are looked at together before one of them is looked for."""
_PART = 4096
"""Numbers whose exponentials are added up before those of others are."""


@compiled()
def has_nan(numbers):  # type: ignore[no-untyped-def]
    found = np.int32(0)
    for place in range(len(numbers)):
        number = to_float(numbers[place])
        found |= np.int32(number != number)
    return found > 0


@compiled()
def highest(numbers):  # type: ignore[no-untyped-def]
    """The highest number; NaN is passed over; -inf if there is none."""
    lanes = stack_array(_LANES, np.float32)
    lanes[:] = -np.inf
    num_whole = len(numbers) // _LANES * _LANES
    for start in range(0, num_whole, _LANES):
        for lane in range(_LANES):
            number = to_float(numbers[start + lane])
            lanes[lane] = number if number > lanes[lane] else lanes[lane]
    for place in range(num_whole, len(numbers)):
        number = to_float(numbers[place])
        lanes[0] = number if number > lanes[0] else lanes[0]
    top = lanes[0]
    for lane in range(_LANES):
        top = lanes[lane] if lanes[lane] > top else top
    return top


@compiled()
def find(numbers, wanted):  # type: ignore[no-untyped-def]
    """Place of the first number that is not below `wanted`; 0 if there is none."""
    for start in range(0, len(numbers), _STRETCH):
        stop = min(start + _STRETCH, len(numbers))
        found = np.int32(0)
        for place in range(start, stop):
            found |= np.int32(to_float(numbers[place]) >= wanted)
        if found:
            for place in range(start, stop):
                if to_float(numbers[place]) >= wanted:
                    return place
    return 0


@compiled()
def find_in_parts(numbers, tops, wanted):  # type: ignore[no-untyped-def]
    """The same where the highest number of each part is known."""
    first = find(tops, wanted) * _PART
    return first + find(numbers[first:], wanted)


@compiled()
def sum_of_exponentials(numbers, top):  # type: ignore[no-untyped-def]
    """Sum of exp(number - top); no number is above `top`."""
    total = np.float32(0)
    for place in range(len(numbers)):
        total += exponential(to_float(numbers[place]) - top)
    return total


@compiled()
def num_parts(num_numbers):  # type: ignore[no-untyped-def]
    """Of a row."""
    return (num_numbers + _PART - 1) // _PART


@compiled()
def summarise(numbers, part):  # type: ignore[no-untyped-def]
    """Of one part of a row: its highest number, and its sum of exp(number - highest); the latter
    is NaN if it holds NaN."""
    own = numbers[part * _PART : (part + 1) * _PART]
    top = highest(own)
    if has_nan(own):
        return top, np.float32(np.nan)
    if top == np.float32(-np.inf):
        return top, np.float32(0)
    return top, sum_of_exponentials(own, top)


@compiled()
def joined(tops, totals):  # type: ignore[no-untyped-def]
    """Of a row, from what `summarise` found in its parts: its highest number, and the logarithm of
    the sum of its exponentials; both NaN if it holds NaN."""
    top, total = highest(tops), np.float32(0)
    for part in range(len(tops)):
        total += totals[part] * exponential(tops[part] - top)
    if total != total:
        return np.float32(np.nan), np.float32(np.nan)
    return top, top + np.log(total)
