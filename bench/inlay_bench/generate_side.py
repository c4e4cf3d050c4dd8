"""The side of `transformers`: `generate`, called directly in a process of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from inlay_bench.batch import Batch, BenchFailed
from inlay_bench.floor import MachineSpeed
from inlay_bench.generate_calls import (
    BatchReply,
    Call,
    Generate,
    MachineReply,
    MeasureMachine,
    Ready,
    Reply,
)
from inlay_bench.processes import child_environment, stop
from inlay_bench.prompts import Prompt

LONGEST_LINE = 2**28  # bytes

_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class GenerateSide:
    """Talks to the process; one call at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def answer(self, prompts: Sequence[Prompt], num_new_tokens: int) -> Batch:
        """One call of `generate` for all prompts. Raises BenchFailed."""
        reply = await self._call(Generate(tuple(prompts), num_new_tokens))
        assert isinstance(reply, BatchReply)
        return reply.batch

    async def measure_machine(self) -> MachineSpeed:
        """With the same threads and type as `generate`. Raises BenchFailed."""
        reply = await self._call(MeasureMachine())
        assert isinstance(reply, MachineReply)
        return reply.speed

    async def wait_until_ready(self) -> None:
        """Until the model is loaded. Raises BenchFailed."""
        reply = await self._next_reply()
        assert isinstance(reply, Ready)

    async def _call(self, call: Call) -> Reply:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(call) + b"\n")
        return await self._next_reply()

    async def _next_reply(self) -> Reply:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise BenchFailed("the process that calls generate has ended (its words stand above)")
        return _replies.decode(line)


@asynccontextmanager
async def start_generate(folder: Path, dtype: str, num_threads: int) -> AsyncIterator[GenerateSide]:
    """The loaded model, for as long as the context lasts. Raises BenchFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "inlay_bench.generate_process", str(folder)),
        *("--dtype", dtype, "--num-threads", str(num_threads)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        env=child_environment(num_threads),
    )
    try:
        side = GenerateSide(process)
        await side.wait_until_ready()
        yield side
    finally:
        await stop(process)
