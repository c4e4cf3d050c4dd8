"""Starting and stopping the processes that are measured."""

import asyncio
import os
import sys

STOP_SECONDS = 20


def child_environment(num_threads: int) -> dict[str, str]:
    """For a process that imports what we import and computes on `num_threads` threads."""
    threads = str(num_threads)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }


async def stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL for one that stays."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
