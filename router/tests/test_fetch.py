"""Fetching images from a server that misbehaves in every way."""

import asyncio
import gzip

import pytest
from scripted_web import LIMITS, fetch, ok, refusal, saying, web

from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.image_urls import FetchError
from inlay_router.images.inspection import ImageLimits


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
def test_another_status_is_refused(status: bytes) -> None:
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
