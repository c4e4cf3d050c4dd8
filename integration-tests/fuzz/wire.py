"""Bytes as they come over a connection, given to the server's own reading of HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from scripted_router import eventually, serve
from uvicorn.server import ServerState

from fuzz.mutation import damage
from fuzz.target import Target, Try, must
from inlay_router.doors.connection import Connection, ConnectionLimits, HttpConfig

_LIMITS = ConnectionLimits(max_connections=100, max_head_bytes=4000, max_headers=20)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b": ",
        b" ",
        b"\r\n\r\n",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"HTTP/0.9",
    ),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffff\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"X: " * 30),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"GET //// HTTP/1.1\r\n"),
    *(b"%00", b"%ff", b"/../", b"?" * 40, b"\xff\xfe", b"http://a/", b"CONNECT a:1 HTTP/1.1\r\n"),
    *(b"Authorization: Bearer \xff\r\n", b"Content-Type: application/json\r\n", b"Host: \r\n"),
    *(b"traceparent: 00-" + b"f" * 32 + b"-" + b"1" * 16 + b"-01\r\n", b"Cookie: " + b"a" * 5000),
)


class _Pipe(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("test", 1), "sockname": ("test", 80)})
        self.written = b""
        self._is_closing = False

    def write(self, data: Any) -> None:
        """See asyncio."""
        self.written += data

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._is_closing

    def close(self) -> None:
        """See asyncio."""
        self._is_closing = True

    def abort(self) -> None:
        """See asyncio."""
        self._is_closing = True

    def pause_reading(self) -> None:
        """See asyncio."""

    def resume_reading(self) -> None:
        """See asyncio."""


@asynccontextmanager
async def _open() -> AsyncIterator[Try]:
    async with serve(api_key="key") as edge:
        config = HttpConfig(
            edge.app, _LIMITS, ws="none", lifespan="off", log_config=None, log_level="critical"
        )
        config.load()
        state = ServerState()

        async def attempt(data: bytes) -> str:
            pipe = _Pipe()
            connection = Connection(config, state, {}, asyncio.get_running_loop())
            connection.connection_made(pipe)
            for start in range(0, len(data), 700):
                if not pipe.is_closing():
                    connection.data_received(data[start : start + 700])
                await asyncio.sleep(0)
            connection.connection_lost(None)
            await eventually(lambda: not state.tasks)
            must(not state.connections, "a connection is not forgotten")
            must("Permits(0 of" in repr(edge.service.permits), "a permit is held")
            statuses = _STATUS.findall(pipe.written)
            must(not any(status >= b"500" for status in statuses), f"{pipe.written[:300]!r}")
            return b" ".join(statuses[:3]).decode()

        yield attempt


def _mutate(data: bytes, other: bytes, chance: Random) -> bytes:
    return damage(data, other, chance, _WORDS)


def _seeds() -> list[bytes]:
    body = b'{"inputs":"a"}'
    head = b"POST /generate HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key\r\n"
    head += b"Content-Type: application/json\r\n"
    calls = [
        head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        head + b"Transfer-Encoding: chunked\r\n\r\ne\r\n" + body + b"\r\n0\r\n\r\n",
        head.replace(b"/generate", b"/generate_stream") + b"Content-Length: 14\r\n\r\n" + body,
        head + b"Expect: 100-continue\r\nContent-Length: 14\r\n\r\n" + body,
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
        b"GET /info HTTP/1.0\r\nAuthorization: Bearer nobody\r\n\r\n",
        b"OPTIONS / HTTP/1.1\r\nOrigin: http://a\r\nAccess-Control-Request-Method: POST\r\n\r\n",
        b"HEAD /docs/ HTTP/1.1\r\nHost: a\r\n\r\nGET /docs/../../etc/passwd HTTP/1.1\r\n\r\n",
        b"GET /v1/models/a%2fb HTTP/1.1\r\nAuthorization: Bearer key\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    return [*calls, calls[0] + calls[1]]


WIRE = Target(name="wire", seeds=_seeds, mutate=_mutate, open=_open, weight=4)
