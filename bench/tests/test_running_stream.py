"""A stream that is watched while it runs, and hung up."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from inlay_bench.adapters.stream import Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.serving.running_stream import open_stream, run_together

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def chunk(token_id: int) -> bytes:
    """One event as a chunk."""
    event = b"data: " + msgspec.json.encode({"token": {"id": token_id}}) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


async def without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Brings tokens 0, 1, 2, … until the client hangs up."""
    writer.write(HEAD)
    token_id = 0
    while not writer.is_closing():
        writer.write(chunk(token_id))
        token_id += 1
        try:
            await writer.drain()
        except ConnectionError:
            break
        await asyncio.sleep(0)
    writer.close()


async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Brings one token and closes."""
    writer.write(HEAD + chunk(7) + b"0\r\n\r\n")
    await writer.drain()
    writer.close()


def with_server(
    handler: Handler, ask: Callable[[str, int], Awaitable[list[Stream]]]
) -> list[Stream]:
    """What `ask` finds out from a server that handles each connection by `handler`."""

    async def run() -> list[Stream]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            return await ask(host, port)

    return asyncio.run(run())


def test_streams_run_until_the_last_has_its_tokens_and_are_hung_up() -> None:
    streams = with_server(
        without_end, lambda host, port: run_together(host, port, ["one", "two"], 5)
    )
    for stream in streams:
        assert len(stream.arrivals) == len(stream.token_ids) >= 5
        assert stream.token_ids == list(range(len(stream.token_ids)))
        assert stream.arrivals == sorted(stream.arrivals)


def test_gaps_are_those_that_end_in_the_interval() -> None:
    async def ask(host: str, port: int) -> list[Stream]:
        async with open_stream(host, port, "one", 9) as running:
            await running.wait_for(4)
            answer = running.answer()
            first, second, third = answer.arrivals[:3]
            assert running.gaps(first, third) == [
                after - before
                for before, after in zip(answer.arrivals, answer.arrivals[1:], strict=False)
                if first < after <= third
            ]
            assert running.gaps(third + 60, third + 61) == []
            return [answer]

    with_server(without_end, ask)


def test_a_stream_that_ends_early_is_a_failure() -> None:
    with pytest.raises(BenchFailed, match="the stream ended after 1 events"):
        with_server(short, lambda host, port: run_together(host, port, ["one"], 2))
