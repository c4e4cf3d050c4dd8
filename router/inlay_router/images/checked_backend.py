"""Opens connections to addresses that were checked, and to no others."""

from collections.abc import Iterable, Sequence

import httpcore

from inlay_router.images.addresses import Network, is_allowed
from inlay_router.images.image_urls import FetchError
from inlay_router.images.lookups import Lookups, Resolve


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host once, checks every address of it, and connects to one that was checked."""

    def __init__(
        self,
        inner: httpcore.AsyncNetworkBackend,
        *,
        has_private_addresses: bool = False,
        allowed_networks: Sequence[Network] = (),
        resolve: Resolve | None = None,
    ) -> None:
        """`inner` opens the connections; `has_private_addresses` switches the check off; `resolve`
        finds addresses, by default as the system does."""
        self._inner = inner
        self._has_private_addresses = has_private_addresses
        self._allowed_networks = allowed_networks
        self._resolve = resolve or Lookups()

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
        addresses = await self._resolve(host, port)
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
