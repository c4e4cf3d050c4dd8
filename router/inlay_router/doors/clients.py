"""Who sent a request, as far as turns and places are concerned."""

import hashlib
from contextvars import ContextVar
from ipaddress import IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

_NUM_HEX_DIGITS = 16
_NUM_NETWORK_BITS = 64

current_client: ContextVar[str] = ContextVar("client", default="")
"""Whose call a task works for, set by the call; empty where all is done for one."""


def client_id_of(request: Request, *, has_keys: bool) -> str:
    """One name for all requests of one client: its key where the server asks for keys, else its
    address. Not the key itself, as names may be shown.

    A key that nobody checks would be a new client in every request, so it says nothing then.
    """
    if has_keys and (key := request.headers.get("authorization")):
        return "key " + hashlib.sha256(key.encode("latin-1")).hexdigest()[:_NUM_HEX_DIGITS]
    return "" if request.client is None else _place_of(request.client.host)


def _place_of(host: str) -> str:
    """The address, or its network in IPv6, where one machine may have all of 2**64 addresses."""
    if ":" not in host:
        return host
    try:
        address = ip_address(host)
    except ValueError:
        return host
    assert isinstance(address, IPv6Address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), _NUM_NETWORK_BITS), strict=False))
