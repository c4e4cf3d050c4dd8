"""Asks the system which addresses a name has, so that no name server keeps others waiting."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from inlay_router.doors.clients import current_client
from inlay_router.images.places import Places

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name or an IP literal in any spelling, for a port; none when there is no such
host."""

NUM_LOOKUPS = 64
"""At a time."""
NUM_LOOKUPS_PER_CLIENT = 16


class Lookups:
    """A Resolve, each look-up on a thread of its own.

    A look-up cannot be cancelled, and lasts half a minute if the name server says nothing. On the
    few threads of an event loop, a client who names such hosts would leave none for others. So its
    place is given back when the look-up has ended, and not when nobody waits for it any more.
    """

    def __init__(
        self, num_lookups: int = NUM_LOOKUPS, num_per_client: int = NUM_LOOKUPS_PER_CLIENT
    ) -> None:
        self._all = asyncio.Semaphore(num_lookups)
        self._clients = Places(num_per_client)

    def __repr__(self) -> str:
        return f"Lookups({self._clients})"

    async def __call__(self, host: str, port: int) -> list[str]:
        """See `Resolve`."""
        client_id = current_client.get()
        await self._clients.take(client_id)
        try:
            await self._all.acquire()
        except BaseException:
            self._clients.give_back(client_id)
            raise

        def end(_: asyncio.Future[list[str]]) -> None:
            self._all.release()
            self._clients.give_back(client_id)

        found = _start(host, port)
        found.add_done_callback(end)
        return await asyncio.shield(found)


def _start(host: str, port: int) -> asyncio.Future[list[str]]:
    """What a thread will find, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def look_up() -> None:
        addresses = _look_up(host, port)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(found.set_result, addresses)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    return found


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
