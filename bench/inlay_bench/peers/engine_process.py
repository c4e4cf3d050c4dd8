"""An engine in a process of its own: started, asked by lines of JSON, held still between."""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from inlay_bench.adapters.stream import Load, Prompt, Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.peers.models import BENCH_HOME
from inlay_bench.peers.recipe import Kind, Recipe
from inlay_bench.processes import stop

LONGEST_LINE = 2**28  # bytes
LOAD_SECONDS = 300
CALL_SECONDS = 180
NUM_LINES_OF_LOG = 2


class EngineProcess:
    """A loaded engine. Between calls it is stopped, so that no idle thread costs another time."""

    def __init__(self, recipe: Recipe, process: asyncio.subprocess.Process, log: Path) -> None:
        self.recipe = recipe
        self._process = process
        self._log = log

    async def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """The answers of one batch. Raises BenchFailed."""
        self._signal(signal.SIGCONT)
        try:
            reply = await self.call(
                {
                    "prompts": [write_prompt(prompt) for prompt in prompts],
                    "num_new_tokens": num_new_tokens,
                },
                CALL_SECONDS,
            )
        finally:
            self._signal(signal.SIGSTOP)
        return [Stream(**stream) for stream in reply["streams"]]

    async def load(self, load: Load) -> None:
        """Start the engine itself. Raises BenchFailed."""
        await self.call({**asdict(load), "folder": str(load.folder)}, LOAD_SECONDS)

    async def call(self, call: dict[str, Any], seconds: float) -> dict[str, Any]:
        """One line there and one back. Raises BenchFailed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(call).encode() + b"\n")
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise BenchFailed(f"no answer within {seconds:.0f} s") from None
        if not line:
            raise BenchFailed(f"it ended: {self._last_words()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise BenchFailed(reply["error"])
        return reply

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"{' / '.join(lines[-NUM_LINES_OF_LOG:])} ({self._log})"

    def peak_bytes(self) -> int:
        """Resident memory at its highest, every process of the engine by itself, added up."""
        driver = psutil.Process(self._process.pid)
        below = driver.children(recursive=True)
        engine = below if self.recipe.is_server else [driver, *below]
        return sum(peak_bytes(process.pid) for process in engine)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            os.killpg(self._process.pid, number)

    def resume(self) -> None:
        """Let it run, so that it can end."""
        self._signal(signal.SIGCONT)


def peak_bytes(pid: int) -> int:
    """`VmHWM` of one process (proc(5)); 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def write_prompt(prompt: Prompt) -> dict[str, Any]:
    """As a line carries it."""
    picture = prompt.picture
    encoded = None if picture is None else base64.b64encode(picture).decode("ascii")
    return {**asdict(prompt), "picture": encoded}


def environment(recipe: Recipe, load: Load) -> dict[str, str]:
    """Of an engine's process: everybody's threads are set in every way that there is."""
    threads = str(load.num_threads)
    is_ours = not recipe.packages
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)) if is_ours else str(BENCH_HOME),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        **recipe.environment,
    }


@asynccontextmanager
async def start_engine(
    recipe: Recipe, kind: Kind, python: Path, load: Load, log: Path
) -> AsyncIterator[EngineProcess]:
    """A loaded engine, for as long as the context lasts; its words go to `log`.

    Raises BenchFailed.
    """
    with log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            str(python),
            *("-m", recipe.modules[kind]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            limit=LONGEST_LINE,
            env=environment(recipe, load),
            start_new_session=True,
        )
        engine = EngineProcess(recipe, process, log)
        try:
            await engine.load(load)
            yield engine
        finally:
            engine.resume()
            await stop(process)
            end_group(process.pid)


def end_group(group_id: int) -> None:
    """Kill what an engine left behind."""
    try:
        os.killpg(group_id, signal.SIGKILL)
    except ProcessLookupError:
        return
