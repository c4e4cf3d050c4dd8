"""A router as operators run it, in front of a scripted shard."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from inlay_bench.processes import child_environment, stop
from inlay_bench.server_side import ready_address
from inlay_proto.grpc_settings import GRPC_SETTINGS


class RouterProcess:
    """A router that answers at `host`:`port`."""

    def __init__(self, host: str, port: int, pid: int) -> None:
        self.host = host
        self.port = port
        self._pid = pid

    def cpu_seconds(self) -> float:
        """CPU time that all its threads took so far (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self._pid << 3) | 2)

    def resident_bytes(self) -> int:
        """Memory that it holds now."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@asynccontextmanager
async def start_router(
    num_blocks: int, step_seconds: float, log: Path
) -> AsyncIterator[RouterProcess]:
    """Both processes, for as long as the context lasts; the router's words go to `log`.

    Raises BenchFailed.
    """
    with tempfile.TemporaryDirectory(prefix="inlay-bench-") as folder, log.open("wb") as log_file:
        address = f"unix:{folder}/shard.sock"
        environment = {**child_environment(1), **GRPC_SETTINGS}  # as from the launcher
        shard = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inlay_bench.serving.scripted_shard", "--address", address),
            *("--num-blocks", str(num_blocks), "--step-seconds", str(step_seconds)),
            env=environment,
        )
        try:
            router = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "inlay_router", "--port", "0"),
                *("--shard-address", address, "--disable-grammar-support"),
                stdout=asyncio.subprocess.PIPE,
                stderr=log_file,
                env=environment,
            )
            try:
                host, port = await ready_address(router, log)
                yield RouterProcess(host, port, router.pid)
            finally:
                await stop(router)
        finally:
            await stop(shard)
