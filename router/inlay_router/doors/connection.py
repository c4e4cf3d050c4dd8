"""One HTTP connection: uvicorn's, with bounds on what a client sends before a call is served."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import msgspec
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from inlay_router.schemas import ErrorBody

_HEALTH_PATHS = frozenset({"/health", "/ping"})
"""Answered on one connection too many, too: who watches the server would end it otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionLimits:
    """What connections may cost."""

    max_connections: int
    """At a time; calls on one more are answered with 429, and at twice as many, none is taken."""
    max_head_bytes: int = 64 * 1024
    """Of a request's line and headers."""
    max_headers: int = 128
    """Headers of a request."""
    linger_seconds: float = 1.0
    """That a refused client may go on sending. If its connection were cut at once, it would be told
    of the cut and not of the reason."""
    head_seconds: float = 20.0
    """Until a head has come, from the connection or its first byte; and until the rest of a body
    has that nobody reads any more."""


class HttpConfig(uvicorn.Config):
    """uvicorn's settings, and ours for connections."""

    def __init__(self, app: ASGIApp, limits: ConnectionLimits, **others: Any) -> None:
        super().__init__(app, http=Connection, **others)
        self.limits = limits


class Connection(HttpToolsProtocol):
    """Refuses heads that are too long, too slow, or one connection too many."""

    def __init__(
        self,
        config: HttpConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = config.limits
        self._served_app = self.app
        self._is_surplus = False
        self._is_refused = False
        self._is_between_calls = True
        self._num_head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        num_connections = len(self.connections)
        self._is_surplus = num_connections > self._limits.max_connections
        if num_connections > 2 * self._limits.max_connections:
            transport.abort()
            return
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._is_refused:
            return
        if self._is_between_calls:
            self._num_head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_between_calls and self._num_head_bytes > self._limits.max_head_bytes:
            self._refuse_head()
        elif self._waits_for_client() and self._deadline is None:
            self._start_deadline()

    def on_headers_complete(self) -> None:
        """The head of a call is there; a body may follow."""
        self._is_between_calls = False
        self._num_head_bytes = 0
        self._stop_deadline()
        self.app = cast(ASGI3Application, self._app_for_call())
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A call is there as a whole; another may follow."""
        self._is_between_calls = True
        super().on_message_complete()

    def _waits_for_client(self) -> bool:
        """Whether nothing is being served, although what has come is not complete."""
        is_served = self.cycle is None or self.cycle.response_complete
        return is_served and not (self._is_between_calls and self._num_head_bytes == 0)

    def _app_for_call(self) -> ASGIApp:
        num_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if num_bytes > self._limits.max_head_bytes or len(self.headers) > self._limits.max_headers:
            return self._head_refusal(f"{num_bytes} bytes, {len(self.headers)} headers")
        if self._is_surplus and self.url.decode("latin-1") not in _HEALTH_PATHS:
            words = "The server has too many connections"
            return _Refusal(HTTPStatus.TOO_MANY_REQUESTS, words, self._limits.linger_seconds)
        return cast(ASGIApp, self._served_app)

    def _head_refusal(self, given: str) -> "_Refusal":
        limits = self._limits
        words = (
            f"The request line and headers must have at most {limits.max_head_bytes} bytes, "
            f"and there must be at most {limits.max_headers} headers. Given: {given}"
        )
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return _Refusal(status, words, limits.linger_seconds)

    def _refuse_head(self) -> None:
        """The head goes on and on: it will not be parsed any further."""
        self._is_refused = True
        self._stop_deadline()
        refusal = self._head_refusal(f"at least {self._num_head_bytes} bytes")
        self.transport.write(refusal.as_bytes())
        self._deadline = self.loop.call_later(self._limits.linger_seconds, self._give_up)

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._limits.head_seconds, self._give_up)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()


class _Refusal:
    """An ASGI application that says one thing, lets the client finish, and closes."""

    def __init__(self, status: HTTPStatus, words: str, linger_seconds: float) -> None:
        self._status = status
        self._linger_seconds = linger_seconds
        self._body = msgspec.json.encode(ErrorBody(words, _ERROR_TYPES[status]))
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._body)),
            (b"connection", b"close"),
        ]
        if status is HTTPStatus.TOO_MANY_REQUESTS:
            self._headers.append((b"retry-after", b"1"))

    def as_bytes(self) -> bytes:
        """For the wire."""
        lines = [b"HTTP/1.1 %d %b" % (self._status, self._status.phrase.encode())]
        lines += [b"%b: %b" % header for header in self._headers]
        return b"\r\n".join([*lines, b"", self._body])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self._status, "headers": self._headers}
        await send(start)
        await send({"type": "http.response.body", "body": self._body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger_seconds):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})


_ERROR_TYPES = {
    HTTPStatus.TOO_MANY_REQUESTS: "overloaded",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "head_too_large",
}
