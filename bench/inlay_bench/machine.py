"""How fast this machine reads memory and multiplies: the floor under every step."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

NUM_BYTES = 2**29  # far larger than any cache
MATRIX_SIDE = 2048
NUM_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class MachineSpeed:
    """Best of a few tries, with the threads that both sides use."""

    bytes_per_second: float
    """Reading memory that no cache holds."""
    flops_per_second: float
    """Multiplying large matrices of the measured type; one multiply-add counts as two."""

    def read_milliseconds(self, num_weights: int, num_weight_bytes: int) -> float:
        """To read every weight once: no decode step is shorter."""
        return 1000 * num_weights * num_weight_bytes / self.bytes_per_second

    def multiply_milliseconds(self, num_weights: int, num_streams: int) -> float:
        """To multiply every weight with one row a stream."""
        return 1000 * 2 * num_weights * num_streams / self.flops_per_second


def measure_machine(dtype: torch.dtype) -> MachineSpeed:
    """Measures for about a second, with torch's current number of threads."""
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
