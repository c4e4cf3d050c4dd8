"""A socket file for steps and results, between a router and a shard that run on one machine.

The stream of steps is opened, refused and ended over gRPC wherever the shard is. gRPC hands each
message from thread to thread, though, which costs ten times what a socket of the loop's own does.
"""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias, cast

Metadata: TypeAlias = tuple[tuple[str, str], ...]

OFFER = "inlay-step-pipe"
"""Key in the initial metadata of Run: the shard listens at `pipe_path`."""
_LENGTH = struct.Struct("<I")
"""Stands before each message: its size in bytes."""


def pipe_path(address: str) -> str | None:
    """The socket file beside the one at which gRPC listens; None when that is no file."""
    return f"{address.removeprefix('unix:')}.steps" if address.startswith("unix:") else None


class Pipe(asyncio.Protocol):
    """One end: whole messages, in the order in which they were sent.

    Nobody waits until a message is written: a step is sent only when the result of one that was
    sent shortly before is back, so there are never many.
    """

    def __init__(self, on_message: Callable[["Pipe", bytes], None]) -> None:
        self._on_message = on_message
        self._on_end: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self.is_over = False
        """Whether nothing more comes, or can be sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._unread += data
        start, num_bytes = 0, len(self._unread)
        while not self.is_over and start + _LENGTH.size <= num_bytes:
            begin = start + _LENGTH.size
            end = begin + _LENGTH.unpack_from(self._unread, start)[0]
            if end > num_bytes:
                break
            self._on_message(self, bytes(self._unread[begin:end]))
            start = end
        del self._unread[:start]

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""
        self.close()

    def call_at_end(self, on_end: Callable[[], None]) -> None:
        """Once, when the other end is gone or this one is closed."""
        self._on_end = on_end

    def send(self, message: bytes) -> None:
        """Nothing happens when the other end is gone."""
        if not self.is_over and self._transport is not None:
            self._transport.write(_LENGTH.pack(len(message)) + message)

    def close(self) -> None:
        """At once; what was not sent yet is lost."""
        if self.is_over:
            return
        self.is_over = True
        if self._transport is not None:
            self._transport.abort()
        if self._on_end is not None:
            self._on_end()


async def connect(address: str, on_message: Callable[[Pipe, bytes], None]) -> Pipe:
    """The pipe of the shard at `address`, which offers one. Raises OSError."""
    loop = asyncio.get_running_loop()
    _, pipe = await loop.create_unix_connection(lambda: Pipe(on_message), pipe_path(address))
    return pipe


@asynccontextmanager
async def offering(
    address: str, on_message: Callable[[Pipe, bytes], None]
) -> AsyncIterator[Metadata]:
    """Take one connection while the context lasts; yields the metadata that tell the other end.

    There are none where no file can be listened at: messages then come over gRPC.
    """
    listener = _bound(address)
    if listener is None:
        yield ()
        return
    pipes: list[Pipe] = []
    loop = asyncio.get_running_loop()

    def take() -> Pipe:
        pipes.append(Pipe(on_message))
        loop.call_soon(server.close)  # whoever opened the stream has come
        return pipes[-1]

    server = await loop.create_unix_server(take, sock=listener)
    try:
        yield ((OFFER, "1"),)
    finally:
        server.close()
        for pipe in pipes:
            pipe.close()
        _remove(address)


def _bound(address: str) -> socket.socket | None:
    """A socket for this user alone, in place of one that was left behind."""
    path = pipe_path(address)
    if path is None:
        return None
    _remove(address)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError:  # a path that is too long, a folder that is gone
        listener.close()
        return None
    finally:
        os.umask(before)
    return listener


def _remove(address: str) -> None:
    path = pipe_path(address)
    with suppress(OSError):
        Path(path or "").unlink()
