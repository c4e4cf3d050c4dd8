"""Loads an image from wherever it is."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL.Image import Image

from inlay_router.errors import ValidationError
from inlay_router.images.fetch import Fetcher, FetchLimits
from inlay_router.images.inspection import ImageLimits, read_data_uri
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.pictures import read_picture, to_rgb

_LIMITS = ImageLimits(max_bytes=1 << 30, max_pixels=1 << 28)


def load_image(
    image: str | Path | Image, *, timeout: float = 10.0, has_private_addresses: bool = False
) -> Image:
    """An upright RGB image from an http(s) address, a data URI, a path, a `file:` URL or PIL.

    `timeout` is in seconds, for an address; `has_private_addresses` lets it lead into private
    networks, and to this machine. Raises OSError for a file that cannot be read, and ValueError for
    what is no image, or cannot be fetched.
    """
    if isinstance(image, Image):
        return to_rgb(image)
    try:
        if isinstance(image, str) and image[:8].lower().startswith(("http://", "https://")):
            limits = FetchLimits(
                image=_LIMITS, timeout=timeout, has_private_addresses=has_private_addresses
            )
            return read_picture(_fetched(image, limits))
        return read_picture(read_local(image))
    except (ValidationError, PreparationRefused) as error:
        raise ValueError(str(error)) from None


def read_local(image: str | Path) -> bytes:
    """What stands in a data URI or a file. Raises OSError, and ValidationError."""
    if isinstance(image, str) and image[:5].lower() == "data:":
        return read_data_uri(image)
    if isinstance(image, str) and image[:5].lower() == "file:":
        image = unquote(urlsplit(image).path)
    return Path(image).expanduser().read_bytes()


def _fetched(url: str, limits: FetchLimits) -> bytes:
    """On a thread, whose event loop is its own: the caller may have one that runs."""

    async def fetch() -> bytes:
        async with Fetcher(limits) as fetcher:
            return await fetcher.fetch(url)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, fetch()).result()
