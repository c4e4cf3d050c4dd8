"""The load client against a small HTTP server that writes what the test says."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from inlay_bench.stream_client import Stream, StreamFailed, ask_together, join_chunks, read_answer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def event(index: int, text: str | None = None) -> bytes:
    """One event; `text` makes it the last."""
    token = {"id": 10 + index, "text": "a", "logprob": -1.0, "special": False}
    return (
        b"data: "
        + msgspec.json.encode(
            {"index": index, "token": token, "generated_text": text, "details": None}
        )
        + b"\n\n"
    )


def chunk(content: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(content), content)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(handler: Handler, inputs: list[str]) -> list[Stream]:
    """Asks a server that handles each connection by `handler`."""

    async def run() -> list[Stream]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            return await ask_together(host, port, inputs, 2)

    return asyncio.run(run())


async def read_body(reader: asyncio.StreamReader) -> bytes:
    """The JSON of a request."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"POST /generate_stream HTTP/1.1\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    return await reader.readexactly(int(lengths[0].split(b":")[1]))


def test_streams_are_asked_together_and_read_to_their_ends() -> None:
    everyone = asyncio.Event()
    bodies = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(msgspec.json.decode(await read_body(reader)))
        text = bodies[-1]["inputs"]
        if len(bodies) == 2:
            everyone.set()
        await everyone.wait()
        writer.write(CHUNKED + chunk(event(1)))
        await writer.drain()
        writer.write(chunk(event(2, text + "é")) + b"0\r\n\r\n")
        writer.close()

    streams = ask(handler, ["one", "two"])
    assert [stream.text for stream in streams] == ["oneé", "twoé"]
    assert [stream.token_ids for stream in streams] == [(11, 12)] * 2
    assert bodies[0]["parameters"] == {"max_new_tokens": 2, "do_sample": False}
    for stream in streams:
        assert 0 < stream.first_token_seconds <= stream.last_token_seconds


def test_a_refusal_is_a_failure() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\n\r\nModel is overloaded")
        writer.close()

    with pytest.raises(StreamFailed, match="429 too many requests: Model is overloaded"):
        ask(handler, ["one"])


def test_an_error_event_is_a_failure() -> None:
    body = event(1) + b'data: {"error":"it broke","error_type":"generation"}\n\n'
    with pytest.raises(StreamFailed, match="it broke"):
        read_answer(HEAD + b"\r\n" + body)


def test_a_cut_stream_is_a_failure() -> None:
    with pytest.raises(StreamFailed, match="no generated_text"):
        read_answer(CHUNKED + chunk(event(1)))


def test_keep_alive_comments_are_no_events() -> None:
    body = b":\n\n" + event(1, "text") + b":\n\n"
    assert read_answer(HEAD + b"\r\n" + body) == ((11,), "text")


def test_chunks_are_joined_across_sizes_and_extensions() -> None:
    assert (
        join_chunks(b"3\r\nabc\r\n10;x=y\r\n" + b"d" * 16 + b"\r\n0\r\n\r\n") == b"abc" + b"d" * 16
    )
