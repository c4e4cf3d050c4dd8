"""Fetching images from a server that misbehaves in every way."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from typing import Any

import pytest
import trustme
from scripted_router import eventually

from inlay_router.doors.clients import current_client
from inlay_router.errors import ValidationError
from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.image_urls import FetchError
from inlay_router.images.inspection import ImageLimits

LIMITS = FetchLimits(
    image=ImageLimits(max_bytes=1000, max_pixels=100), has_private_addresses=True, max_redirects=2
)
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def web(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on loopback that hands each request's head to `answer`; its URL."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            try:
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
            finally:
                writer.close()
                await writer.wait_closed()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(serve(reader, writer)))

    async with await asyncio.start_server(connect, "127.0.0.1", 0, ssl=tls) as server:
        try:
            scheme = "https" if tls else "http"
            yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for _ in range(5):  # for a connection that was accepted and not made yet
                await asyncio.sleep(0)
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)


def saying(response: bytes) -> Answer:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(response)

    return answer


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def fetch(answer: Answer, path: str = "/a.png", limits: FetchLimits = LIMITS) -> bytes:
    async def scenario() -> bytes:
        async with web(answer) as url, Fetcher(limits) as fetcher:
            return await fetcher.fetch(url + path)

    return asyncio.run(scenario())


def refusal(answer: Answer, **options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        fetch(answer, **options)
    return str(caught.value).removeprefix("Input validation error: ")


def test_the_body_comes_back() -> None:
    assert fetch(saying(ok(b"image"))) == b"image"


def test_a_chunked_body_comes_back() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nima\r\n2\r\nge\r\n0\r\n\r\n"
    )
    assert fetch(saying(chunked)) == b"image"


def test_the_request_says_who_asks_for_what() -> None:
    heads = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(ok(b""))

    fetch(answer, path="/ä b.png?q=ü&x=1#fragment")
    (head,) = heads
    assert head.startswith(b"GET /%C3%A4%20b.png?q=%C3%BC&x=1 HTTP/1.1\r\n")
    assert b"User-Agent: inlay/" in head
    assert b"Accept-Encoding: identity" in head


@pytest.mark.parametrize("status", [b"204 No Content", b"404 Not Found", b"500 Oops", b"304 Same"])
def test_another_status_is_refused(status: Any) -> None:
    response = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status
    number = status.split()[0].decode()
    sentence = f"Could not fetch image: the server answered with status {number}"
    assert refusal(saying(response)) == sentence


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"
    sentence = "Image size 1001 bytes exceeds maximum allowed size of 1000 bytes"
    assert refusal(saying(response)) == sentence


def test_an_undeclared_length_is_refused_while_reading() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 10_000)
            await writer.drain()

    assert "exceeds maximum allowed size of 1000 bytes" in refusal(answer)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
def test_a_server_that_falls_silent_is_given_up(first: bytes) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await asyncio.Event().wait()

    limits = FetchLimits(image=LIMITS.image, has_private_addresses=True, timeout=0.05)
    sentence = "Could not fetch image: it took longer than 0.05 seconds"
    assert refusal(answer, limits=limits) == sentence


def test_a_server_that_drips_is_given_up() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.001)

    limits = FetchLimits(
        image=ImageLimits(max_bytes=10**9, max_pixels=1), has_private_addresses=True, timeout=0.05
    )
    assert "took longer than 0.05 seconds" in refusal(answer, limits=limits)


@pytest.mark.parametrize(
    "response",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"],
)
def test_a_server_that_does_not_speak_http_is_named_so(response: bytes) -> None:
    sentence = "Could not fetch image: the server does not speak HTTP"
    assert refusal(saying(response)) == sentence


def test_nobody_at_the_address() -> None:
    async def scenario() -> None:
        async with web(saying(b"")) as url:
            pass
        async with Fetcher(LIMITS) as fetcher:
            await fetcher.fetch(url)

    with pytest.raises(FetchError, match="the connection failed"):
        asyncio.run(scenario())


def test_a_body_that_unpacks_to_much_more_stays_packed() -> None:
    packed = gzip.compress(bytes(500_000))
    response = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    assert fetch(saying(response % (len(packed), packed))) == packed


def test_what_comes_behind_the_declared_length_is_not_read() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nimage" + b"x" * 5000
    assert fetch(saying(response)) == b"image"


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"9" * 400, b"5, 6", b"0x10", b"\xb2"])
def test_a_declared_length_that_is_none_is_refused(length: bytes) -> None:
    words = refusal(saying(b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\nimage" % length))
    assert "does not speak HTTP" in words or "exceeds maximum allowed size" in words


@pytest.mark.parametrize("line", [b"HTTP/1.1 103 Hints\r\n\r\n", b"X: y\r\n", b"x" * 1000])
def test_a_head_that_never_ends_is_given_up(line: bytes) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"" if line.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(line)
            await writer.drain()

    limits = FetchLimits(image=LIMITS.image, has_private_addresses=True, timeout=0.2)
    words = refusal(answer, limits=limits)
    assert words.removeprefix("Could not fetch image: ") in (
        "it took longer than 0.2 seconds",
        "the server does not speak HTTP",
    )


def redirect(location: bytes, status: int = 302) -> bytes:
    return b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: Any) -> None:
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


def test_no_more_fetches_at_a_time_than_allowed() -> None:
    num_open = 0
    most = 0

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal num_open, most
        num_open += 1
        most = max(most, num_open)
        await asyncio.sleep(0)
        writer.write(ok(b"x"))
        await writer.drain()
        num_open -= 1

    async def scenario() -> list[bytes]:
        limits = FetchLimits(image=LIMITS.image, has_private_addresses=True, max_concurrent=2)
        async with web(answer) as url, Fetcher(limits) as fetcher:
            return await asyncio.gather(*(fetcher.fetch(url) for _ in range(8)))

    assert asyncio.run(scenario()) == [b"x"] * 8
    assert most <= 2


def test_a_fetch_that_is_cancelled_leaves_its_place() -> None:
    async def scenario() -> bytes:
        entered = asyncio.Event()

        async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
            if head.startswith(b"GET /silent "):
                entered.set()
                await asyncio.Event().wait()
            writer.write(ok(b"x"))

        limits = FetchLimits(image=LIMITS.image, has_private_addresses=True, max_concurrent=1)
        async with web(answer) as url, Fetcher(limits) as fetcher:
            task = asyncio.create_task(fetcher.fetch(url + "/silent"))
            await entered.wait()
            task.cancel()
            await asyncio.wait([task])
            return await fetcher.fetch(url)

    assert asyncio.run(scenario()) == b"x"


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
    monkeypatch.setattr(
        "inlay_router.images.lookups.socket.getaddrinfo",
        lambda host, port, **_: [(2, 1, 6, "", ("127.0.0.1", port))],
    )
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


def test_a_redirect_to_a_host_that_is_not_allowed_is_refused() -> None:
    limits = FetchLimits(
        image=LIMITS.image, has_private_addresses=True, allowed_hosts=("127.0.0.1",)
    )
    answer = saying(redirect(b"http://localhost/a.png"))
    assert "not one of those that this server allows" in refusal(answer, limits=limits)


def silent_host() -> tuple[asyncio.Queue[None], Answer]:
    """What a host does that never answers, and where it puts a mark for each that comes to it."""
    entered: asyncio.Queue[None] = asyncio.Queue()

    async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
        entered.put_nowait(None)
        await asyncio.Event().wait()

    return entered, silent


def test_a_slow_host_takes_no_more_than_its_places() -> None:
    async def scenario() -> bytes:
        entered, silent = silent_host()
        limits = FetchLimits(
            image=LIMITS.image,
            has_private_addresses=True,
            max_concurrent=2,
            max_concurrent_per_host=1,
        )
        async with web(silent) as slow, web(saying(ok(b"x"))) as quick, Fetcher(limits) as fetcher:
            waiting = [asyncio.create_task(fetcher.fetch(slow)) for _ in range(4)]
            await entered.get()
            body = await fetcher.fetch(quick.replace("127.0.0.1", "localhost"))
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert repr(fetcher._hosts) == "Places({})"
            return body

    assert asyncio.run(scenario()) == b"x"


def test_a_client_with_slow_hosts_leaves_places_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All are silent that it names; it has as many fetches under way as it may."""
    monkeypatch.setattr(
        "inlay_router.images.lookups.socket.getaddrinfo",
        lambda host, port, **_: [(2, 1, 6, "", ("127.0.0.1", port))],
    )

    async def scenario() -> bytes:
        entered, silent = silent_host()
        limits = FetchLimits(
            image=LIMITS.image,
            has_private_addresses=True,
            max_concurrent=3,
            max_concurrent_per_client=2,
        )
        async with web(silent) as slow, web(saying(ok(b"x"))) as quick, Fetcher(limits) as fetcher:
            current_client.set("one")
            urls = [slow.replace("127.0.0.1", f"{number}.test") for number in range(7)]
            waiting = [asyncio.create_task(fetcher.fetch(url)) for url in urls]
            await entered.get()
            await entered.get()
            current_client.set("other")
            body = await fetcher.fetch(quick)
            assert entered.empty()
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert repr(fetcher._clients) == "Places({})"
            return body

    assert asyncio.run(scenario()) == b"x"


def test_a_client_that_waits_for_a_host_with_many_is_not_before_another() -> None:
    async def scenario() -> list[bytes]:
        asked: list[bytes] = []
        gate = asyncio.Event()

        async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
            asked.append(head.split()[1])
            await gate.wait()
            writer.write(ok(b"x"))

        limits = FetchLimits(
            image=LIMITS.image, has_private_addresses=True, max_concurrent_per_host=1
        )
        async with web(answer) as url, Fetcher(limits) as fetcher:
            current_client.set("one")
            many = [asyncio.create_task(fetcher.fetch(f"{url}/{n}")) for n in range(5)]
            await eventually(lambda: bool(asked))
            current_client.set("other")
            other = asyncio.create_task(fetcher.fetch(f"{url}/other"))
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*many, other)
            return asked

    assert asyncio.run(scenario())[:2] == [b"/0", b"/other"]


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
