"""Measures how fast this machine reads memory and multiplies."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import torch

from inlay_bench.floor import MachineSpeed
from inlay_bench.processes import child_environment

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


def measured_apart(dtype: str, num_threads: int) -> MachineSpeed:
    """The same in a process of its own, so that the caller's threads stay as they are."""
    command = [sys.executable, "-m", "inlay_bench.machine", dtype, str(num_threads)]
    environment = child_environment(num_threads)
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    return msgspec.json.decode(done.stdout, type=MachineSpeed)


def main() -> None:
    """Writes the speed as a line of JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("dtype")
    parser.add_argument("num_threads", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.num_threads)
    speed = measure_machine(getattr(torch, options.dtype))
    sys.stdout.buffer.write(msgspec.json.encode(speed) + b"\n")


if __name__ == "__main__":
    main()
