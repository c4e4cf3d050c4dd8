"""The side of inlay: `inlay serve` as an operator starts it, asked over HTTP."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from inlay_bench.batch import Batch, BenchFailed
from inlay_bench.processes import child_environment, stop
from inlay_bench.prompts import Prompt
from inlay_bench.stream_client import Stream, StreamFailed, ask_together

READY_LINE = "inlay is ready: "
START_SECONDS = 300


class ServerSide:
    """A server that answers at `host`:`port`."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    async def answer(self, prompts: Sequence[Prompt], num_new_tokens: int) -> Batch:
        """One stream a prompt, all opened together. Raises BenchFailed."""
        streams = await self.ask([prompt.markdown for prompt in prompts], num_new_tokens)
        return Batch(
            first_token_seconds=tuple(stream.first_token_seconds for stream in streams),
            last_token_seconds=tuple(stream.last_token_seconds for stream in streams),
            token_ids=tuple(stream.token_ids for stream in streams),
            texts=tuple(stream.text for stream in streams),
        )

    async def ask(
        self,
        inputs: Sequence[str],
        num_new_tokens: int,
        parameters: Mapping[str, object] | None = None,
    ) -> list[Stream]:
        """One stream for each of `inputs`, all opened together. Raises BenchFailed."""
        try:
            return await ask_together(self.host, self.port, inputs, num_new_tokens, parameters)
        except (StreamFailed, OSError) as error:
            raise BenchFailed(f"a stream failed: {error}") from error


@asynccontextmanager
async def start_server(
    folder: Path, dtype: str, num_threads: int, log: Path, arguments: Sequence[str] = ()
) -> AsyncIterator[ServerSide]:
    """A serving inlay, for as long as the context lasts; its words go to `log`.

    `arguments` are further flags of `inlay serve`.

    Raises BenchFailed.
    """
    command = [sys.executable, "-m", "inlay.cli", "serve", str(folder), "--port", "0"]
    command += ["--dtype", dtype, "--num-threads", str(num_threads), *arguments]
    with log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            env=child_environment(num_threads),
        )
        try:
            host, port = await ready_address(process, log)
            assert process.stdout is not None
            rest = asyncio.create_task(process.stdout.read())
            yield ServerSide(host, port)
            rest.cancel()
        finally:
            await stop(process)


async def ready_address(process: asyncio.subprocess.Process, log: Path) -> tuple[str, int]:
    """Host and port out of the ready line. Raises BenchFailed."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            async for line in process.stdout:
                if (text := line.decode()).startswith(READY_LINE):
                    return parse_address(text.removeprefix(READY_LINE).strip())
    except TimeoutError:
        raise BenchFailed(f"inlay was not ready after {START_SECONDS} s; see {log}") from None
    raise BenchFailed(f"inlay ended before it was ready; see {log}")


def parse_address(url: str) -> tuple[str, int]:
    """Host and port of an address such as http://127.0.0.1:3000. Raises BenchFailed."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise BenchFailed(f"the ready line names no host and port: {url}")
    return parts.hostname, parts.port
