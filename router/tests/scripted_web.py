"""A web server on loopback whose answers a test writes, and what a fetcher makes of them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from inlay_router.errors import ValidationError
from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.inspection import ImageLimits

LIMITS = FetchLimits(
    image=ImageLimits(max_bytes=1000, max_pixels=100), has_private_addresses=True, max_redirects=2
)
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Is given the head of a request and writes a response."""


@asynccontextmanager
async def web(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on loopback that hands each request's head to `answer`; its URL."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            try:
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
            finally:
                writer.close()
                await writer.wait_closed()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(serve(reader, writer)))

    async with await asyncio.start_server(connect, "127.0.0.1", 0, ssl=tls) as server:
        try:
            scheme = "https" if tls else "http"
            yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for _ in range(5):  # for a connection that was accepted and not made yet
                await asyncio.sleep(0)
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)


def saying(response: bytes) -> Answer:
    """The same to every request."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(response)

    return answer


def ok(body: bytes) -> bytes:
    """A response that is well."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def fetch(answer: Answer, path: str = "/a.png", limits: FetchLimits = LIMITS) -> bytes:
    """What a fetcher gets from a server that answers so."""

    async def scenario() -> bytes:
        async with web(answer) as url, Fetcher(limits) as fetcher:
            return await fetcher.fetch(url + path)

    return asyncio.run(scenario())


def refusal(answer: Answer, **options: Any) -> str:
    """What the client is told where `fetch` fails."""
    with pytest.raises(ValidationError) as caught:
        fetch(answer, **options)
    return str(caught.value).removeprefix("Input validation error: ")


def redirect(location: bytes, status: int = 302) -> bytes:
    """A response that sends on to `location`."""
    return b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location)


def lead_all_names_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever host is looked up has the address 127.0.0.1."""
    monkeypatch.setattr(
        "inlay_router.images.lookups.socket.getaddrinfo",
        lambda host, port, **_: [(2, 1, 6, "", ("127.0.0.1", port))],
    )
