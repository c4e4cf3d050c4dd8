"""Running a compiled loop on as many threads as torch uses."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_MIN_PARALLEL_WORK = 500_000
"""Inner iterations below which waking other threads costs more than it saves."""


def launch(loop: Callable[..., None], num_tasks: int, work: int, *arguments: Any) -> None:
    """Call loop(first, stride, *arguments) until every task in [0, num_tasks) is done.

    loop releases the GIL and does the tasks first, first + stride, … on its own. work: how often
    its innermost loop runs in all. Plain threads are used, not Numba's pools: on a busy machine
    an OpenMP pool of two threads took 23 ms to start a loop, as it spins beside torch's own, and
    the other pool ends the process when two threads use it at a time.
    """
    num_threads = min(torch.get_num_threads(), num_tasks)
    if num_threads <= 1 or work < _MIN_PARALLEL_WORK:
        loop(0, 1, *arguments)
        return
    threads = _threads(num_threads - 1)
    shares = [
        threads.submit(loop, first, num_threads, *arguments) for first in range(1, num_threads)
    ]
    loop(0, num_threads, *arguments)
    for share in shares:
        share.result()


@functools.cache
def _threads(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads, thread_name_prefix="inlay-kernels")
