"""Reads the URLs of images, by one parser for what is checked and for what goes on the wire."""

import re
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import httpcore

from inlay_router.errors import ValidationError

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


class FetchError(ValidationError):
    """An image could not be fetched; the words say nothing about this server's network."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Could not fetch image: {reason}")


def parse(url: str) -> httpcore.URL:
    """`url` as it goes on the wire. Raises FetchError."""
    try:
        return _wire_form(urlsplit(url.strip()))
    except ValueError:  # UnicodeError, which IDNA raises, is one
        raise FetchError("the URL is not valid") from None


def redirected(url: str, location: str) -> str:
    """Where `location`, which may be relative, leads from `url`.

    Raises FetchError, also where it leads from `https:` to what anybody on the way can change.
    """
    try:
        target = urljoin(url, location)
        schemes = urlsplit(url.strip()).scheme, urlsplit(target.strip()).scheme
    except ValueError:
        raise FetchError("the URL is not valid") from None
    if schemes == ("https", "http"):
        raise FetchError("the server redirects from https:// to http://")
    return target


def host_of(url: httpcore.URL) -> str:
    """Its name or address, in one spelling."""
    return url.host.decode().lower().rstrip(".")


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
