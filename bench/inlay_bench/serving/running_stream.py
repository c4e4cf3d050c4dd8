"""One stream that runs while other things happen to its server."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from inlay_bench.adapters.stream import Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.stream_client import Receiver, StreamFailed, encode_request, read_token_ids

PATIENCE_SECONDS = 120.0
MAX_HEAD_START = 160
"""Tokens that the first stream may be ahead of the last."""


class RunningStream:
    """Watches the events of one answer as they come."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @property
    def num_events(self) -> int:
        """So far."""
        return len(self._receiver.arrivals)

    def answer(self) -> Stream:
        """Tokens so far and when they came. Raises BenchFailed."""
        try:
            token_ids = read_token_ids(self._receiver.response)
        except StreamFailed as error:
            raise BenchFailed(f"a stream failed: {error}") from error
        return Stream(list(token_ids), list(self._receiver.arrivals[: len(token_ids)]))

    def check_open(self, num_events: int) -> None:
        """Raises BenchFailed when the stream ended before so many events."""
        if self._receiver.closed.done() and self.num_events < num_events:
            words = self._receiver.response[-200:].decode(errors="replace")
            raise BenchFailed(f"the stream ended after {self.num_events} events: {words}")

    async def wait_for(self, num_events: int) -> None:
        """Until so many events came. Raises BenchFailed when the stream ends or stands still."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._receiver.until(num_events)
        except TimeoutError:
            raise BenchFailed(
                f"{num_events} events did not come within {PATIENCE_SECONDS:.0f} s"
            ) from None
        self.check_open(num_events)

    def gaps(self, start: float, end: float) -> list[float]:
        """Seconds from one event to the next, for those that came in (start, end]."""
        times = self._receiver.arrivals
        pairs = zip(times[:-1], times[1:], strict=True)
        return [after - before for before, after in pairs if start < after <= end]


@asynccontextmanager
async def open_stream(
    host: str,
    port: int,
    inputs: str,
    num_new_tokens: int,
    parameters: Mapping[str, object] | None = None,
) -> AsyncIterator[RunningStream]:
    """A stream that is hung up at the end of the context."""
    request = encode_request(host, inputs, num_new_tokens, parameters or {})
    loop = asyncio.get_running_loop()
    _transport, receiver = await loop.create_connection(lambda: Receiver(request), host, port)
    try:
        yield RunningStream(receiver)
    finally:
        receiver.hang_up()
        await receiver.closed


async def run_together(
    host: str,
    port: int,
    inputs: Sequence[str],
    num_tokens: int,
    parameters: Mapping[str, object] | None = None,
) -> list[Stream]:
    """Streams that all run until the last of them has `num_tokens` tokens. Raises BenchFailed.

    A server may let the first ones decode for long before the last has its first token; none ends
    meanwhile, as each asks for more than is wanted.
    """
    limit = num_tokens + MAX_HEAD_START
    async with AsyncExitStack() as stack:
        opening = [open_stream(host, port, text, limit, parameters) for text in inputs]
        streams = [await stack.enter_async_context(each) for each in opening]
        for stream in streams:
            await stream.wait_for(num_tokens)
        return [stream.answer() for stream in streams]
