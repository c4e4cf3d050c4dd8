"""Fetches images from the web: public addresses only, and never for long or for much."""

import asyncio
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import httpcore

from inlay_router.addresses import Network, is_allowed
from inlay_router.errors import ValidationError
from inlay_router.images import ImageLimits, check_size
from inlay_router.version import VERSION

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
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
    max_concurrent: int = 16
    """Fetches at a time over all requests."""
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


class FetchError(ValidationError):
    """An image could not be fetched; the words say nothing about this server's network."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Could not fetch image: {reason}")


class Fetcher:
    """Fetches over connections of its own, which go where the address check looked."""

    def __init__(
        self,
        limits: FetchLimits,
        backend: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`backend` opens the connections, to addresses that were checked; `ssl_context` says whom
        `https` trusts, by default the roots that come with `certifi`."""
        self._limits = limits
        self._places = asyncio.Semaphore(limits.max_concurrent)
        self._hosts = HostPlaces(limits.max_concurrent_per_host)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or _ssl_context(),
            max_connections=limits.max_concurrent,
            max_keepalive_connections=0,
            network_backend=CheckedBackend(
                backend or httpcore.AnyIOBackend(),
                has_private_addresses=limits.has_private_addresses,
                allowed_networks=limits.allowed_networks,
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

    async def fetch(self, url: str) -> bytes:
        """The body behind `url`. Raises FetchError."""
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await self._follow(url)
        except TimeoutError:
            raise FetchError(f"it took longer than {self._limits.timeout:g} seconds") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError):
            raise FetchError("the connection failed") from None
        except httpcore.ProtocolError:
            raise FetchError("the server does not speak HTTP") from None

    async def _follow(self, url: str) -> bytes:
        for _ in range(self._limits.max_redirects + 1):
            target = _parse(url)
            host = target.host.decode().lower().rstrip(".")
            if not _is_allowed_host(host, self._limits.allowed_hosts):
                raise FetchError("its host is not one of those that this server allows")
            # First the host's place: who waits for a slow host takes no place from others.
            async with self._hosts.place(host), self._places:
                answer = await self._get(target)
            if isinstance(answer, bytes):
                return answer
            url = _join(url, answer)
        raise FetchError(f"more than {self._limits.max_redirects} redirects")

    async def _get(self, url: httpcore.URL) -> bytes | str:
        """The body, or where the server says that it is."""
        async with self._pool.stream("GET", url, headers=_HEADERS) as response:
            if response.status in _REDIRECTS:
                return _location(response)
            if response.status != 200:
                raise FetchError(f"the server answered with status {response.status}")
            return await self._read(response)

    async def _read(self, response: httpcore.Response) -> bytes:
        declared = _header(response, b"content-length")
        if declared.isdigit():
            check_size(int(declared[:20]), self._limits.image)
        body = bytearray()
        async for part in response.aiter_stream():
            body += part
            check_size(len(body), self._limits.image)
        return bytes(body)


class HostPlaces:
    """So many places a host; a host that nobody asks for is forgotten."""

    def __init__(self, num_places: int) -> None:
        self._num_places = num_places
        self._places: dict[str, asyncio.Semaphore] = {}
        self._num_users: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"HostPlaces({dict(self._num_users)})"

    @asynccontextmanager
    async def place(self, host: str) -> AsyncIterator[None]:
        """Wait for a place of this host, and hold it."""
        places = self._places.setdefault(host, asyncio.Semaphore(self._num_places))
        self._num_users[host] += 1
        try:
            async with places:
                yield
        finally:
            self._num_users[host] -= 1
            if not self._num_users[host]:
                del self._num_users[host], self._places[host]


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host, checks every address of it, and connects to one that was checked."""

    def __init__(
        self,
        inner: httpcore.AsyncNetworkBackend,
        *,
        has_private_addresses: bool = False,
        allowed_networks: Sequence[Network] = (),
    ) -> None:
        self._inner = inner
        self._has_private_addresses = has_private_addresses
        self._allowed_networks = allowed_networks

    def _may_connect(self, address: str) -> bool:
        return self._has_private_addresses or is_allowed(address, self._allowed_networks)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to `host`. Raises FetchError, and httpcore's errors."""
        addresses = await _resolve(host, port)
        # One sentence for both, so that nobody can ask which names exist in a private network.
        if not addresses or not all(map(self._may_connect, addresses)):
            raise FetchError("its host has no public address")
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError:
                continue
        return await self._inner.connect_tcp(
            addresses[-1], port, timeout, local_address, socket_options
        )


def _is_allowed_host(host: str, allowed_hosts: Sequence[str]) -> bool:
    return not allowed_hosts or any(
        host.endswith(allowed) if allowed.startswith(".") else host == allowed
        for allowed in allowed_hosts
    )


async def _resolve(host: str, port: int) -> list[str]:
    """The addresses of a name or an IP literal in any spelling; none when there is no such host."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _parse(url: str) -> httpcore.URL:
    """`url` as it goes on the wire. Raises FetchError."""
    try:
        parts = urlsplit(url.strip())
        return _wire_form(parts)
    except ValueError:  # UnicodeError, which IDNA raises, is one
        raise FetchError("the URL is not valid") from None


def _join(url: str, location: str) -> str:
    """Where `location`, which may be relative, leads from `url`. Raises FetchError."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise FetchError("the URL is not valid") from None


def _wire_form(parts: SplitResult) -> httpcore.URL:
    if parts.scheme not in ("http", "https"):
        raise FetchError("its URL must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise FetchError("the URL must not hold a user name or password")
    host = parts.hostname or ""
    host = host if host.isascii() else host.encode("idna").decode()
    if not _HOST.fullmatch(host):
        raise FetchError("the URL is not valid")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return httpcore.URL(scheme=parts.scheme, host=host, port=parts.port, target=target)


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
