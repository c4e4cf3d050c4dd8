"""Connections that send too much, too slowly, or are too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest
from scripted_router import eventually, serve
from uvicorn.server import ServerState

from inlay_router.doors.connection import Connection, ConnectionLimits, HttpConfig
from inlay_router.links.scripted_shard import spell

PATIENT = ConnectionLimits(
    max_connections=2, max_head_bytes=2000, max_headers=10, linger_seconds=0.05
)
LIMITS = replace(PATIENT, head_seconds=0.05)
BODY = b'{"inputs":"a"}'


@dataclass
class Wire:
    """One client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *parts: bytes) -> None:
        """Send, each part by itself."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> bytes:
        """All until the server closes the connection; b"" when it says nothing."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def head(self) -> bytes:
        """The status line and headers of an answer."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def __aenter__(self) -> "Wire":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Door:
    """A server on loopback."""

    port: int
    state: ServerState

    async def connect(self) -> Wire:
        """A connection that the server knows of."""
        num_before = len(self.state.connections)
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        await eventually(lambda: len(self.state.connections) > num_before)
        return wire


@asynccontextmanager
async def door(limits: ConnectionLimits = PATIENT, answer: str = "b") -> AsyncIterator[Door]:
    async with serve(spell(answer)) as edge:
        config = HttpConfig(edge.app, limits, ws="none", lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(config, state, {}, loop)

        server = await loop.create_server(connection, "127.0.0.1", 0)
        async with server:
            yield Door(server.sockets[0].getsockname()[1], state)
            for protocol in list(state.connections):
                protocol.transport.abort()
            await eventually(lambda: not state.connections and not state.tasks)


def head(*headers: bytes, path: bytes = b"/generate") -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"host: a", b"content-type: application/json", *headers]
    return b"\r\n".join([*lines, b"content-length: %d" % len(BODY), b"", b""])


async def exchange(*parts: bytes, limits: ConnectionLimits = PATIENT) -> bytes:
    async with door(limits) as opened, await opened.connect() as wire:
        await wire.say(*parts)
        return await wire.answer()


def test_a_call_is_answered() -> None:
    answer = asyncio.run(exchange(head(b"connection: close"), BODY))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"generated_text":"b"}')


def test_calls_follow_one_another() -> None:
    async def scenario() -> bytes:
        call = head() + BODY
        return await exchange(call + call, call, head(b"connection: close"), BODY)

    assert asyncio.run(scenario()).count(b"HTTP/1.1 200 OK\r\n") == 4


@pytest.mark.parametrize(
    "parts",
    [
        [head(b"x: " + b"y" * 3000) + BODY],
        [head(*[b"x: y"] * 11) + BODY],
        [head(path=b"/" + b"y" * 3000)],
        [b"POST /generate HTTP/1.1\r\nx: ", *[b"y" * 100] * 30],
        [b"POST /", *[b"y" * 100] * 30],
        [b"POST / HTTP/1.1\r\n", *[b"x: y\r\n"] * 400],
        [head() + BODY + b"POST / HTTP/1.1\r\nx: ", *[b"y" * 100] * 30],
    ],
)
def test_a_head_that_is_too_long_is_a_431(parts: list[bytes]) -> None:
    answer = asyncio.run(exchange(*parts))
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" in answer
    assert b"connection: close" in answer
    assert b'"error_type":"head_too_large"' in answer


@pytest.mark.parametrize("first", [b"", b"P", b"POST / HTTP/1.1\r\nhost: a\r\nx: "])
def test_a_head_that_does_not_come_ends_the_connection(first: bytes) -> None:
    assert asyncio.run(exchange(first, limits=LIMITS)) == b""


def test_a_head_that_drips_ends_the_connection() -> None:
    async def scenario() -> bytes:
        async with door(LIMITS) as opened, await opened.connect() as wire:
            await wire.say(b"POST / HTTP/1.1\r\n")
            while opened.state.connections:
                await wire.say(b"x")
            return await wire.answer()

    assert asyncio.run(scenario()) == b""


def test_a_second_head_that_drips_ends_the_connection() -> None:
    async def scenario() -> bytes:
        async with door(LIMITS) as opened, await opened.connect() as wire:
            await wire.say(head(), BODY)
            first = await wire.head()
            while opened.state.connections:
                await wire.say(b"x")
            return first

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 200 OK")


def test_a_body_that_nobody_reads_any_more_ends_the_connection() -> None:
    async def scenario() -> bytes:
        async with door(LIMITS) as opened, await opened.connect() as wire:
            await wire.say(b"GET /info HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
            first = await wire.head()
            while opened.state.connections:
                await wire.say(b"x")
            return first

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 200 OK")


def test_a_stream_outlives_the_patience_for_heads() -> None:
    """Half of a second head behind the first call is no reason to cut the answer to that."""

    async def scenario() -> bytes:
        async with door(LIMITS, answer="b" * 200) as opened, await opened.connect() as wire:
            call = head(path=b"/generate_stream") + BODY
            await wire.say(call + b"POST / HT")
            answer = await wire.reader.readuntil(b"0\r\n\r\n")
            return answer

    assert b"b" * 200 in asyncio.run(scenario())


def test_one_connection_too_many_is_a_429_but_for_health() -> None:
    async def scenario() -> None:
        async with door() as opened, AsyncExitStack() as stack:
            wires = [await stack.enter_async_context(await opened.connect()) for _ in range(4)]
            await wires[2].say(head(), BODY)
            refusal = await wires[2].answer()
            assert refusal.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
            assert b"retry-after: 1\r\n" in refusal
            assert b'"error_type":"overloaded"' in refusal
            await wires[3].say(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (await wires[3].head()).startswith(b"HTTP/1.1 200 OK\r\n")
            await wires[0].say(head(b"connection: close"), BODY)
            assert (await wires[0].answer()).startswith(b"HTTP/1.1 200 OK\r\n")

    asyncio.run(scenario())


def test_at_twice_as_many_nobody_is_let_in() -> None:
    async def scenario() -> bytes:
        async with door() as opened, AsyncExitStack() as stack:
            for _ in range(4):
                await stack.enter_async_context(await opened.connect())
            late = Wire(*await asyncio.open_connection("127.0.0.1", opened.port))
            async with late:
                return await late.answer()

    assert asyncio.run(scenario()) == b""


@pytest.mark.parametrize("rubbish", [b"\x00\xff", b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n"])
def test_rubbish_is_a_400(rubbish: bytes) -> None:
    assert asyncio.run(exchange(rubbish)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
