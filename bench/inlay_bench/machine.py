"""Measures how fast this machine reads memory and multiplies."""

import time
from collections.abc import Callable

import torch

from inlay_bench.floor import MachineSpeed

NUM_BYTES = 2**29  # far larger than any cache
MATRIX_SIDE = 2048
NUM_TRIES = 5


def measure_machine(dtype: torch.dtype) -> MachineSpeed:
    """Takes about a second, with torch's current number of threads."""
    memory = torch.ones(NUM_BYTES // 4, dtype=torch.float32)
    matrix = torch.ones(MATRIX_SIDE, MATRIX_SIDE, dtype=dtype)
    read_seconds = shortest_seconds(memory.sum)
    multiply_seconds = shortest_seconds(lambda: matrix @ matrix)
    return MachineSpeed(
        bytes_per_second=NUM_BYTES / read_seconds,
        flops_per_second=2 * MATRIX_SIDE**3 / multiply_seconds,
    )


def shortest_seconds(work: Callable[[], object]) -> float:
    """The shortest of a few runs."""
    return min(timed_seconds(work) for _ in range(NUM_TRIES))


def timed_seconds(work: Callable[[], object]) -> float:
    """One run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
