"""Where redirects may lead, and whose certificate is trusted on the way."""

import asyncio
import ssl
from ipaddress import ip_network

import pytest
import trustme
from scripted_web import LIMITS, Answer, fetch, ok, redirect, refusal, saying, web

from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.image_urls import FetchError


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        is_first = head.startswith(b"GET /a.png ")
        writer.write(redirect(b"/b/c.png?x", status) if is_first else ok(head.split()[1]))

    assert fetch(answer) == b"/b/c.png?x"


def test_redirects_end_some_time() -> None:
    assert refusal(saying(redirect(b"/a.png"))) == "Could not fetch image: more than 2 redirects"


@pytest.mark.parametrize(
    "location", [b"file:///etc/passwd", b"ftp://a/b", b"data:image/png,x", b"gopher://a"]
)
def test_a_redirect_to_another_scheme_is_refused(location: bytes) -> None:
    assert "must begin with http:// or https://" in refusal(saying(redirect(location)))


@pytest.mark.parametrize("location", [b"http://[::1", b"http://a:b/", b"http://a b/"])
def test_a_redirect_to_what_is_no_url_is_refused(location: bytes) -> None:
    assert "the URL is not valid" in refusal(saying(redirect(location)))


def test_a_redirect_to_nowhere_is_refused() -> None:
    response = b"HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n\r\n"
    assert refusal(saying(response)) == "Could not fetch image: the server redirects to nowhere"


def test_a_redirect_to_a_private_address_is_refused() -> None:
    """The first hop is in a network that is allowed; the second is checked like any other."""
    limits = FetchLimits(image=LIMITS.image, allowed_networks=(ip_network("127.0.0.0/8"),))
    answer = saying(redirect(b"http://[::1]:1/secret"))
    sentence = "Could not fetch image: its host has no public address"
    assert refusal(answer, limits=limits) == sentence


def test_a_redirect_to_a_host_that_is_not_allowed_is_refused() -> None:
    limits = FetchLimits(
        image=LIMITS.image, has_private_addresses=True, allowed_hosts=("127.0.0.1",)
    )
    answer = saying(redirect(b"http://localhost/a.png"))
    assert "not one of those that this server allows" in refusal(answer, limits=limits)


IMAGE = saying(ok(b"image"))


def fetch_over_tls(name_in_certificate: str, *, is_trusted: bool, answer: Answer = IMAGE) -> bytes:
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name_in_certificate).configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    if is_trusted:
        authority.configure_trust(client_tls)

    async def scenario() -> bytes:
        async with (
            web(answer, server_tls) as url,
            Fetcher(LIMITS, ssl_context=client_tls) as fetcher,
        ):
            return await fetcher.fetch(url)

    return asyncio.run(scenario())


def test_https_with_a_certificate_for_the_host() -> None:
    assert fetch_over_tls("127.0.0.1", is_trusted=True) == b"image"


@pytest.mark.parametrize(("name", "is_trusted"), [("127.0.0.1", False), ("example.org", True)])
def test_https_with_another_certificate_is_refused(name: str, is_trusted: bool) -> None:
    with pytest.raises(FetchError, match="the connection failed"):
        fetch_over_tls(name, is_trusted=is_trusted)


def test_a_redirect_that_gives_up_encryption_is_refused() -> None:
    with pytest.raises(FetchError, match="redirects from https:// to http://"):
        answer = saying(redirect(b"http://127.0.0.1/a.png"))
        fetch_over_tls("127.0.0.1", is_trusted=True, answer=answer)


def test_a_redirect_within_https_is_followed() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        is_first = head.startswith(b"GET / ")
        writer.write(redirect(b"/b.png") if is_first else ok(head.split()[1]))

    assert fetch_over_tls("127.0.0.1", is_trusted=True, answer=answer) == b"/b.png"
