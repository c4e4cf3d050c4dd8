"""Markdown, data URIs and URLs as clients may write them."""

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from random import Random

from attacker import LIMITS, PUBLIC, Lookups, attack, moved, page
from test_ssrf_table import PRIVATE, SPELLINGS

from fuzz.mutation import damage
from fuzz.target import Target, Try, check_words, must
from inlay_router.errors import ValidationError
from inlay_router.images.inspection import read_data_uri
from inlay_router.markdown import ImagePiece, split

_SECONDS = 0.5
"""For a fetch: a public address leads to the attacker, who is silent where TLS is expected."""
_IMAGE = re.compile(r"!\[\]\([^)]*\)")
_MARKDOWN = (b"![](", b")", b"![", b"](", b"!", b"http://a/b", b"data:,", b"file:///", b"\n", b"(")


@asynccontextmanager
async def _open_markdown() -> AsyncIterator[Try]:
    async def attempt(data: bytes) -> str:
        text = data.decode("utf-8", "replace")
        try:
            pieces = split(text, max_images=8)
        except ValidationError as error:
            return check_words(str(error), text)
        written = [p.text if not isinstance(p, ImagePiece) else f"![]({p.url})" for p in pieces]
        must("".join(written) == text, "a piece of the text is lost")
        num_images = sum(isinstance(piece, ImagePiece) for piece in pieces)
        must(num_images == len(_IMAGE.findall(text)), "not what TGI takes for images")
        return f"{num_images} images"

    yield attempt


def _mutate_markdown(data: bytes, other: bytes, chance: Random) -> bytes:
    return damage(data, other, chance, _MARKDOWN)


@asynccontextmanager
async def _open_data() -> AsyncIterator[Try]:
    async def attempt(data: bytes) -> str:
        uri = "data:" + data.decode("utf-8", "replace")
        try:
            return f"{len(read_data_uri(uri)).bit_length()} bits"
        except ValidationError as error:
            return check_words(str(error), "")

    yield attempt


def _mutate_data(data: bytes, other: bytes, chance: Random) -> bytes:
    return damage(data, other, chance, (b"base64", b";", b",", b"=", b"%", b"%00", b"-_", b"\xc3"))


@asynccontextmanager
async def _open_urls() -> AsyncIterator[Try]:
    """As a client's URL, and as where the attacker's server redirects to."""
    names: dict[str, Lookups] = {name: [found] for name, found in PRIVATE.items()}
    pages = {"/a.png": page(b"image")}
    async with attack(pages, names, replace(LIMITS, timeout=_SECONDS)) as world:

        async def attempt(data: bytes) -> str:
            url = data.decode("utf-8", "surrogateescape")
            is_redirect = url.startswith(">")
            pages["/r"] = moved(url[1:]) if is_redirect and url.isascii() else page(b"")
            try:
                await world.fetcher.fetch("http://attacker.test/r" if is_redirect else url)
                words = "fetched"
            except ValidationError as error:
                words = check_words(str(error), url)
            must(all(map(_is_public, world.roads.visited)), f"connected to {world.roads.visited}")
            world.roads.visited.clear()
            world.names.asked.clear()
            return f"{is_redirect} {words}"

        yield attempt


def _is_public(address: str) -> bool:
    """By another way than the one that is tried here."""
    parsed = ip_address(address)
    is_disguised = isinstance(parsed, IPv6Address) and bool(
        parsed.ipv4_mapped or parsed.sixtofour or parsed.teredo
    )
    return parsed.is_global and not parsed.is_multicast and not is_disguised


_URL = (
    *(b"http://", b"https://", b"//", b"@", b"#", b"?", b"\\", b"/", b":", b":80", b"[", b"]"),
    *(b"%", b"%2e", b"%00", b"\t", b"\n", b"0x7f", b"0177", b"127.", b"::ffff:", b"localhost"),
    *("。１①ⓛ℀\u00ad\u200b".encode(), b"attacker.test", PUBLIC.encode(), b"/a.png", b">", b"xn--"),
)


def _mutate_url(data: bytes, other: bytes, chance: Random) -> bytes:
    return damage(data, other, chance, _URL)[:3000]


def _markdown_seeds() -> list[bytes]:
    return [b"a![](http://a/b)c![](data:,x)", b"![alt](http://a/b)", b"![]()", b"![](", b"text"]


def _data_seeds() -> list[bytes]:
    return [
        b"image/png;base64," + base64.b64encode(bytes(range(90))),
        b",%41%zz",
        b";a=b;base64,aGk",
    ]


def _url_seeds() -> list[bytes]:
    urls = ["http://attacker.test/a.png", f"http://{PUBLIC}/a.png", *SPELLINGS]
    return [mark + url.encode() for url in urls for mark in (b"", b">")]


MARKDOWN = Target(
    name="markdown", seeds=_markdown_seeds, mutate=_mutate_markdown, open=_open_markdown, weight=3
)
DATA_URIS = Target(
    name="data_uris", seeds=_data_seeds, mutate=_mutate_data, open=_open_data, weight=3
)
URLS = Target(name="urls", seeds=_url_seeds, mutate=_mutate_url, open=_open_urls, weight=4)
