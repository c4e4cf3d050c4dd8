"""Clients that together always want more than the server can do."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from inlay_bench.soak.requests import SoakRequest, soak_request

_SLOW_SECONDS = 0.05
_AGAIN_SECONDS = 0.05
"""A refused client comes back far sooner than it was told to: that is the overload."""


class Crowd:
    """Counts what became of requests: answered, refused (429), left (by the client), failed."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        """What the server said of the first few that failed."""
        self._numbers: Iterator[int] = itertools.count()

    async def press(self, num_clients: int, seconds: float) -> None:
        """So many clients, each asking again as soon as it has its answer, for so long."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._one_client(until) for _ in range(num_clients)))

    async def _one_client(self, until: float) -> None:
        while time.monotonic() < until:
            outcome = await self.ask(soak_request(next(self._numbers), self.host))
            self.counts[outcome] += 1
            if outcome == "refused":
                await asyncio.sleep(_AGAIN_SECONDS)

    async def ask(self, request: SoakRequest) -> str:
        """What became of it."""
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError as error:
            return self._fail(str(error))
        try:
            writer.write(request.data)
            return await self._read(request, reader)
        except OSError as error:
            return self._fail(str(error))
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _read(self, request: SoakRequest, reader: asyncio.StreamReader) -> str:
        status = (await reader.readline()).split(b" ", 2)[1:2]
        if status == [b"429"]:
            return "refused"
        num_events = 0
        async for line in reader:
            if status != [b"200"] and line.startswith(b"{"):
                return self._fail(line.decode())
            if not line.startswith(b"data:"):
                continue
            if b'"error"' in line:
                return self._fail(line.decode())
            if b'"generated_text":null' not in line:
                return "answered"
            num_events += 1
            if request.leaves_after is not None and num_events >= request.leaves_after:
                return "left"
            if request.is_slow:
                await asyncio.sleep(_SLOW_SECONDS)
        return self._fail("the stream ended without its text")

    def _fail(self, words: str) -> str:
        if len(self.failures) < 20:
            self.failures.append(words[:300])
        return "failed"
