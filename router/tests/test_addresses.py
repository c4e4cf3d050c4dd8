"""Which addresses images may come from, in every spelling that resolves to an address."""

import asyncio

import httpcore
import pytest

from inlay_router.images.addresses import is_public
from inlay_router.images.checked_backend import CheckedBackend
from inlay_router.images.image_urls import FetchError

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "not an address",
    "",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80e::200e",
    "2620:fe::fe",
]

# How the resolver reads these is its business; what it makes of them must not be connected to.
SPELLINGS_OF_PRIVATE_HOSTS = [
    "localhost",
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.01",
    "0",
    "0x0",
    "0.0.0.0",
    "10.1",
    "167772161",
    "192.168.257",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:0",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1",
    "fd00:ec2::254",
    "no-such-host.invalid",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


class Recorder(httpcore.AsyncNetworkBackend):
    """A backend that says where it was asked to connect."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    async def connect_tcp(self, host: str, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        self.hosts.append(host)
        return httpcore.AsyncNetworkStream()


def connect(inner: Recorder, host: str, *, has_private_addresses: bool = False) -> None:
    async def scenario() -> None:
        backend = CheckedBackend(inner, has_private_addresses=has_private_addresses)
        await backend.connect_tcp(host, 80)

    asyncio.run(scenario())


@pytest.mark.parametrize("host", SPELLINGS_OF_PRIVATE_HOSTS)
def test_no_spelling_of_a_private_host_is_connected_to(host: str) -> None:
    inner = Recorder()
    with pytest.raises(FetchError, match="its host has no public address"):
        connect(inner, host)
    assert inner.hosts == []


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Make every name resolve to `addresses`."""

    monkeypatch.setattr(
        "inlay_router.images.lookups.socket.getaddrinfo",
        lambda host, port, **_: [(2, 1, 6, "", (address, port)) for address in addresses],
    )


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, "8.8.8.8", "10.0.0.1")
    inner = Recorder()
    with pytest.raises(FetchError):
        connect(inner, "example.org")
    assert inner.hosts == []


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, "8.8.8.8", "8.8.8.8")
    inner = Recorder()
    connect(inner, "example.org")
    assert inner.hosts == ["8.8.8.8"]


def test_the_check_can_be_switched_off_for_development() -> None:
    inner = Recorder()
    connect(inner, "127.0.0.1", has_private_addresses=True)
    assert inner.hosts == ["127.0.0.1"]
