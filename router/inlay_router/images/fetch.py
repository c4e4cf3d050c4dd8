"""Fetches images from the web: public addresses only, and never for long or for much."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self

import httpcore

from inlay_router.doors.clients import current_client
from inlay_router.images.addresses import Network
from inlay_router.images.checked_backend import CheckedBackend
from inlay_router.images.image_urls import FetchError, host_of, parse, redirected
from inlay_router.images.inspection import ImageBudget, ImageLimits, check_size
from inlay_router.images.lookups import Resolve
from inlay_router.images.places import Places
from inlay_router.version import VERSION

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = (
    (b"User-Agent", f"inlay/{VERSION}".encode()),
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """What one image may cost."""

    image: ImageLimits
    timeout: float = 5.0
    """Seconds for everything: waiting for a place, names, redirects, and the last byte."""
    max_redirects: int = 5
    max_concurrent: int = 32
    """Fetches at a time over all requests."""
    max_concurrent_per_client: int = 16
    """Fetches at a time for one client: one that names slow hosts leaves places for others."""
    max_concurrent_per_host: int = 4
    """Fetches at a time from one host, so that a slow one does not take every place."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that images may come from, lower case; `.example.org` stands for all below it. Empty
    for any."""
    allowed_networks: tuple[Network, ...] = ()
    """Private networks that images may come from too."""
    has_private_addresses: bool = False
    """Whether addresses are not checked; for development."""


@cache
def _ssl_context() -> ssl.SSLContext:
    """Reading the root certificates takes 20 ms or more: once a process, not once a connection."""
    return httpcore.default_ssl_context()


class Fetcher:
    """Fetches over connections of its own, which go where the address check looked."""

    def __init__(
        self,
        limits: FetchLimits,
        backend: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """`backend` opens the connections, to addresses that were checked; `ssl_context` says whom
        `https` trusts, by default the roots that come with `certifi`; `resolve` finds addresses, by
        default as the system does."""
        self._limits = limits
        self._places = asyncio.Semaphore(limits.max_concurrent)
        self._hosts = Places(limits.max_concurrent_per_host)
        self._own_hosts = Places(limits.max_concurrent_per_host)
        self._clients = Places(limits.max_concurrent_per_client)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or _ssl_context(),
            max_connections=limits.max_concurrent,
            max_keepalive_connections=0,
            network_backend=CheckedBackend(
                backend or httpcore.AnyIOBackend(),
                has_private_addresses=limits.has_private_addresses,
                allowed_networks=limits.allowed_networks,
                resolve=resolve,
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._pool.aclose()

    async def fetch(self, url: str, budget: ImageBudget | None = None) -> bytes:
        """The body behind `url`, at the expense of `budget`.

        Raises FetchError, and ValidationError when it is too long.
        """
        budget = budget or ImageBudget(self._limits.image)
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await self._follow(url, budget)
        except TimeoutError:
            raise FetchError(f"it took longer than {self._limits.timeout:g} seconds") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError):
            raise FetchError("the connection failed") from None
        except httpcore.ProtocolError:
            raise FetchError("the server does not speak HTTP") from None

    async def _follow(self, url: str, budget: ImageBudget) -> bytes:
        for _ in range(self._limits.max_redirects + 1):
            target = parse(url)
            host = host_of(target)
            if not _is_allowed_host(host, self._limits.allowed_hosts):
                raise FetchError("its host is not one of those that this server allows")
            async with self._place(host):
                answer = await self._get(target, budget)
            if isinstance(answer, bytes):
                return answer
            url = redirected(url, answer)
        raise FetchError(f"more than {self._limits.max_redirects} redirects")

    @asynccontextmanager
    async def _place(self, host: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it. Who waits for a slow host takes no place from other
        fetches of the same client, and a client that waits with many takes none from others."""
        client_id = current_client.get()
        async with (
            self._own_hosts.place(f"{client_id} {host}"),
            self._clients.place(client_id),
            self._hosts.place(host),
            self._places,
        ):
            yield

    async def _get(self, url: httpcore.URL, budget: ImageBudget) -> bytes | str:
        """The body, or where the server says that it is."""
        async with self._pool.stream("GET", url, headers=_HEADERS) as response:
            if response.status in _REDIRECTS:
                return _location(response)
            if response.status != 200:
                raise FetchError(f"the server answered with status {response.status}")
            return await self._read(response, budget)

    async def _read(self, response: httpcore.Response, budget: ImageBudget) -> bytes:
        declared = _header(response, b"content-length")
        if declared.isdigit():
            check_size(int(declared[:20]), self._limits.image)
        body = bytearray()
        async for part in response.aiter_stream():
            body += part
            check_size(len(body), self._limits.image)
            budget.spend_bytes(len(part))
        return bytes(body)


def _is_allowed_host(host: str, allowed_hosts: Sequence[str]) -> bool:
    return not allowed_hosts or any(
        host.endswith(allowed) if allowed.startswith(".") else host == allowed
        for allowed in allowed_hosts
    )


def _location(response: httpcore.Response) -> str:
    location = _header(response, b"location")
    if not location:
        raise FetchError("the server redirects to nowhere")
    return location.decode("utf-8", "replace")


def _header(response: httpcore.Response, name: bytes) -> bytes:
    for key, value in response.headers:
        if key.lower() == name:
            return bytes(value)
    return b""
