"""Starting and stopping the processes that are measured."""

import asyncio
import os

STOP_SECONDS = 20


def thread_environment(num_threads: int) -> dict[str, str]:
    """The environment for a process whose parallel loops take `num_threads` threads."""
    threads = str(num_threads)
    return {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


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
