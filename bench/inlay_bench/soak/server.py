"""The server that is soaked: small limits, so that all of them are reached."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from inlay_bench.batch import BenchFailed
from inlay_bench.processes import child_environment, stop
from inlay_bench.scrape import scrape
from inlay_bench.server_side import ready_address

_PLUGIN = Path(__file__).parent / "ledger_plugin.py"
_LIMITS = {
    "--max-concurrent-requests": 48,
    "--max-batch-size": 12,
    "--max-queue-tokens": 4096,
    "--image-cache-bytes": 16 << 20,
    "--num-blocks": 512,
    "--grammar-timeout": 60,
}
"""The last one is long: a busy machine is no failure."""
_LEDGER_SECONDS = 30.0


class SoakedServer:
    """A server that answers at `host`:`port`."""

    def __init__(self, host: str, port: int, launcher: psutil.Process, ledger: Path) -> None:
        self.host = host
        self.port = port
        self.launcher = launcher
        self._ledger = ledger

    async def metrics(self) -> dict[str, float]:
        """The gauges and counters of `/metrics` that have no labels."""
        return await scrape(self.host, self.port)

    def ask_for_ledger(self) -> None:
        """Let the shard write what it holds after its next step."""
        (self._ledger / "ask").touch()

    async def ledger(self) -> dict[str, int]:
        """What it wrote. Raises BenchFailed."""
        for _ in range(int(_LEDGER_SECONDS / 0.05)):
            found = list(self._ledger.glob("*.json"))
            if found and not (self._ledger / "ask").exists():
                return dict(json.loads(found[0].read_text()))
            await asyncio.sleep(0.05)
        raise BenchFailed("the shard does not say what it holds")


@asynccontextmanager
async def start_soaked(log: Path) -> AsyncIterator[SoakedServer]:
    """The embedded model, served for as long as the context lasts; its words go to `log`.

    Raises BenchFailed.
    """
    flags = [word for name, value in _LIMITS.items() for word in (name, str(value))]
    with tempfile.TemporaryDirectory(prefix="inlay-soak-") as folder, log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inlay.cli", "serve", "--port", "0"),
            *("--plugin", str(_PLUGIN), "--dtype", "float32", *flags),
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            env={**child_environment(1), "INLAY_LEDGER": folder},
        )
        try:
            host, port = await ready_address(process, log)
            yield SoakedServer(host, port, psutil.Process(process.pid), Path(folder))
        finally:
            await stop(process)
