"""Arrays handed from one process to another through memory that both of them see."""

import math
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64
"""Bytes; every array begins at a multiple of it."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where one array lies in the shared memory."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """As NumPy writes it (`<f4`)."""
    offset: int
    """Bytes from the beginning."""

    @property
    def end(self) -> int:
        """Bytes from the beginning to behind it."""
        return self.offset + math.prod(self.shape) * np.dtype(self.dtype).itemsize


def share(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, list[Layout]]:
    """A file in memory that holds the arrays, which the caller closes, and where they lie in it."""
    layouts: list[Layout] = []
    end = 0
    for name, array in arrays.items():
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        layouts.append(Layout(name=name, shape=array.shape, dtype=array.dtype.str, offset=offset))
        end = layouts[-1].end
    file = os.memfd_create("inlay-pixels", os.MFD_CLOEXEC)
    os.ftruncate(file, max(end, 1))
    for layout, array in zip(layouts, arrays.values(), strict=True):
        _write(file, array, layout.offset)
    return file, layouts


def _write(file: int, array: NDArray[Any], offset: int) -> None:
    rest = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    while rest:
        num_written = os.pwrite(file, rest, offset)
        rest, offset = rest[num_written:], offset + num_written


def attach(file: int, layouts: Sequence[Layout]) -> dict[str, NDArray[Any]]:
    """The arrays in a file of `share`, without a copy; closes it. The memory lives as long as one
    of them does."""
    try:
        memory = mmap.mmap(file, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(file)
    return {
        layout.name: np.frombuffer(
            memory, layout.dtype, math.prod(layout.shape), layout.offset
        ).reshape(layout.shape)
        for layout in layouts
    }
