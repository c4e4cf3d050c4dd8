"""Which network addresses an image may come from: public ones, and no disguises of others."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_REFUSED = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's metadata and DNS, although the block is public
        "192.0.0.0/24",  # IETF protocols, and the metadata of Oracle's cloud
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # IETF protocols; Teredo embeds an IPv4 address
        "2002::/16",  # 6to4 embeds an IPv4 address
        "3fff::/20",  # documentation
    )
)

# Everything outside is unassigned, local, multicast, or embeds an IPv4 address (::ffff:0:0/96,
# ::/96, NAT64 in 64:ff9b::/96 and 64:ff9b:1::/48).
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def is_allowed(address: str, extra_networks: Sequence[Network]) -> bool:
    """Whether `address` is public, or in a network that the operator named."""
    return is_public(address) or any(_is_in(address, network) for network in extra_networks)


def _is_in(address: str, network: Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether `address`, an IP literal as the resolver wrote it, may be fetched from."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if any(parsed in network for network in _REFUSED):
        return False
    return _is_public_v4(parsed) if isinstance(parsed, IPv4Address) else _is_public_v6(parsed)


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _is_public_v6(address: IPv6Address) -> bool:
    return address in _GLOBAL_UNICAST and address.is_global and not _is_isatap(address)


def _is_isatap(address: IPv6Address) -> bool:
    """Whether its last 64 bits embed an IPv4 address, as RFC 5214 has it, below any prefix."""
    return (int(address) >> 32) & 0xFDFF_FFFF == 0x0000_5EFE
