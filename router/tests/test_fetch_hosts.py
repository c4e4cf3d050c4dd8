"""Which hosts images are fetched from."""

import asyncio
from ipaddress import ip_network

import pytest
from scripted_web import LIMITS, lead_all_names_to_loopback, ok, saying, web

from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.image_urls import FetchError


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://", "the URL is not valid"),
        ("http:///a.png", "the URL is not valid"),
        ("http://a:99999/", "the URL is not valid"),
        ("http://a:b/", "the URL is not valid"),
        ("http://[::1", "the URL is not valid"),
        ("http://a b/", "the URL is not valid"),
        ("http://a\\b/", "the URL is not valid"),
        ("http://" + "a" * 300 + "/", "the URL is not valid"),
        ("http://a..ü/", "the URL is not valid"),
        ("http://user:secret@example.org/", "must not hold a user name or password"),
        ("http://127.0.0.1/", "its host has no public address"),
        ("http://127.0.0.1:22/", "its host has no public address"),
        ("http://①②⑦.⓪.⓪.①/", "its host has no public address"),
        ("http://localhost/", "its host has no public address"),
        ("http://[::ffff:127.0.0.1]/", "its host has no public address"),
        ("https://0x7f.1/", "its host has no public address"),
        ("http://no-such-host.invalid/", "its host has no public address"),
    ],
)
def test_urls_that_lead_nowhere_public(url: str, words: str) -> None:
    async def scenario() -> None:
        async with Fetcher(FetchLimits(image=LIMITS.image)) as fetcher:
            await fetcher.fetch(url)

    with pytest.raises(FetchError) as caught:
        asyncio.run(scenario())
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433"])
def test_a_network_that_the_operator_named_is_fetched_from(host: str) -> None:
    limits = FetchLimits(image=LIMITS.image, allowed_networks=(ip_network("127.0.0.1/32"),))

    async def scenario() -> bytes:
        async with web(saying(ok(b"image"))) as url, Fetcher(limits) as fetcher:
            return await fetcher.fetch(url.replace("127.0.0.1", host))

    assert asyncio.run(scenario()) == b"image"


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("localhost.", True),
        ("LOCALHOST", True),
        ("127.0.0.2", False),
        ("a.localhost", True),
        ("alocalhost", False),
    ],
)
def test_only_the_hosts_that_the_operator_named(
    host: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_all_names_to_loopback(monkeypatch)
    limits = FetchLimits(
        image=LIMITS.image,
        has_private_addresses=True,
        allowed_hosts=("127.0.0.1", "localhost", ".localhost"),
    )

    async def scenario() -> bytes:
        async with web(saying(ok(b"image"))) as url, Fetcher(limits) as fetcher:
            return await fetcher.fetch(url.replace("127.0.0.1", host))

    if is_allowed:
        assert asyncio.run(scenario()) == b"image"
    else:
        with pytest.raises(FetchError, match="not one of those that this server allows"):
            asyncio.run(scenario())
