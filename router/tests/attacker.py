"""Stands in for whoever hosts images: a resolver that answers as it likes, and a web server.

Addresses on the public list lead to the local server; any other that is connected to is a breach.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpcore

from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.inspection import ImageLimits

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
LIMITS = FetchLimits(image=ImageLimits(max_bytes=1000, max_pixels=100), timeout=5.0)

Lookups = list[list[str]]
"""What a name resolves to the first time, the second, and so on; the last answer stays."""


@dataclass
class Names:
    """A resolver: literals as the system reads them, names as the attacker says."""

    table: dict[str, Lookups]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> list[str]:
        """See `Resolve`."""
        self.asked.append(host)
        lookups = self.table.get(host.lower())
        if lookups is None:
            return await _literal(host, port)
        return lookups[0] if len(lookups) == 1 else lookups.pop(0)


async def _literal(host: str, port: int) -> list[str]:
    """An address in any spelling that the system's resolver takes for one; asks no server."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]


class Roads(httpcore.AsyncNetworkBackend):
    """Leads public addresses to the attacker's server, and notes where else somebody went."""

    def __init__(self, port: int) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._port = port
        self.visited: list[str] = []

    @property
    def breaches(self) -> list[str]:
        """Addresses that nobody should have connected to."""
        return [address for address in self.visited if address not in (PUBLIC, PUBLIC_6)]

    async def connect_tcp(
        self, host: str, port: int, *_: Any, **__: Any
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the attacker, whatever the address."""
        self.visited.append(host)
        return await self._inner.connect_tcp("127.0.0.1", self._port)


@dataclass
class Attack:
    """A fetcher in the attacker's world."""

    fetcher: Fetcher
    names: Names
    roads: Roads


@asynccontextmanager
async def attack(
    pages: dict[str, bytes], names: dict[str, Lookups] | None = None, limits: FetchLimits = LIMITS
) -> AsyncIterator[Attack]:
    """`pages` maps the path that is asked for to the whole response."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(pages.get(head.split()[1].decode(), status(404)))
            await writer.drain()
        writer.close()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(answer(reader, writer)))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        roads = Roads(server.sockets[0].getsockname()[1])
        resolver = Names({"attacker.test": [[PUBLIC]], **(names or {})})
        async with Fetcher(limits, roads, resolve=resolver) as fetcher:
            yield Attack(fetcher, resolver, roads)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def status(number: int) -> bytes:
    """A response without a body."""
    return b"HTTP/1.1 %d Words\r\nContent-Length: 0\r\n\r\n" % number


def page(body: bytes, headers: Iterable[bytes] = ()) -> bytes:
    """A response with a body."""
    lines = b"".join(b"%b\r\n" % line for line in headers)
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)


def moved(location: str, number: int = 302) -> bytes:
    """A redirect."""
    place = location.encode()
    return b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (number, place)
