"""Bodies of responses that are being streamed, for whoever has bytes and must not wait."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

T = TypeVar("T")


class Outbox:
    """Pieces for all clients, which leave together, once nothing else is to be done at the moment.

    A write goes deep into the system. Between two of them, our code for the next token would have
    to come back into the processor's caches, and the system's code after it.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[RequestResponseCycle, bytes]] = []

    def put(self, cycle: RequestResponseCycle, piece: bytes) -> None:
        """Write `piece` to the connection of `cycle` soon, behind all that was put before."""
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self._empty)
        self._pieces.append((cycle, piece))

    def _empty(self) -> None:
        pieces, self._pieces = self._pieces, []
        for cycle, piece in pieces:
            if not cycle.disconnected:
                cycle.transport.write(piece)


class ResponseBody:
    """Writes what uvicorn's `send` would write, without a coroutine and a message for each piece.

    Pieces written here and pieces sent there may alternate. None is lost, and one that is sent by
    a task that was woken after another was written here comes behind it.
    """

    def __init__(self, cycle: RequestResponseCycle, outbox: Outbox) -> None:
        self._cycle = cycle
        self._outbox = outbox

    @classmethod
    def behind(cls, send: Send, outbox: Outbox) -> "ResponseBody | None":
        """The body that a server's own `send` writes; None if the server is not uvicorn."""
        cycle = getattr(send, "__self__", None)
        return cls(cycle, outbox) if isinstance(cycle, RequestResponseCycle) else None

    def writer(self, encode: Callable[[T], bytes]) -> Callable[[T], bool]:
        """A function that writes what `encode` makes of its argument, if that is anything.

        It returns False, and encodes nothing, unless the head is sent, the end is not, and the
        client is there and keeps up. One function, as it is called for each token.
        """
        cycle, flow, put = self._cycle, self._cycle.flow, self._outbox.put

        def write(subject: T) -> bool:
            if (
                flow.write_paused
                or cycle.disconnected
                or cycle.chunked_encoding is not True  # decided when the head is sent
                or cycle.response_complete
            ):
                return False
            if data := encode(subject):
                put(cycle, b"%x\r\n%b\r\n" % (len(data), data))  # RFC 9112, section 7.1
            return True

        return write
