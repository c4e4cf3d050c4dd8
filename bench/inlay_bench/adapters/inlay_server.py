"""Drives `inlay serve` as its users do: over HTTP, one connection a stream."""

import asyncio
import base64
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp

from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.stream import Load, Prompt, Stream
from inlay_bench.server_side import ServerSide, start_server
from inlay_bench.serving.running_stream import run_together

BLOCK_SIZE = 32


class InlayServer:
    """A server below this process, and the client that asks it."""

    def __init__(self, load: Load) -> None:
        self._runner = asyncio.Runner()
        self._resources = AsyncExitStack()
        self._side: ServerSide = self._runner.run(self._start(load))

    async def _start(self, load: Load) -> ServerSide:
        log = Path(mkdtemp(prefix="inlay-bench-")) / "server.log"
        num_blocks = load.num_cache_tokens // BLOCK_SIZE
        server = start_server(
            load.folder, load.dtype, load.num_threads, log, ("--num-blocks", str(num_blocks))
        )
        return await self._resources.enter_async_context(server)

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """See Engine; streams that decode together may bring more tokens than asked for."""
        return self._runner.run(self._ask([markdown(prompt) for prompt in prompts], num_new_tokens))

    async def _ask(self, inputs: Sequence[str], num_new_tokens: int) -> list[Stream]:
        if num_new_tokens > 1:
            return await run_together(self._side.host, self._side.port, inputs, num_new_tokens)
        start = time.perf_counter()
        answers = await self._side.ask(inputs, num_new_tokens)
        return [
            Stream(list(answer.token_ids), [start + arrival for arrival in answer.arrivals])
            for answer in answers
        ]

    def close(self) -> None:
        """See Engine."""
        self._runner.run(self._resources.aclose())
        self._runner.close()


def markdown(prompt: Prompt) -> str:
    """As an HTTP client sends it."""
    if prompt.picture is None:
        return prompt.text
    encoded = base64.b64encode(prompt.picture).decode("ascii")
    return f"![](data:image/png;base64,{encoded}){prompt.text}"


if __name__ == "__main__":
    serve(InlayServer)
