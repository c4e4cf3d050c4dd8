"""Reads the format and the size of an image from its header."""

import struct
from collections.abc import Callable
from typing import TypeAlias

from inlay_router.errors import ValidationError
from inlay_router.images.headers import bmp, gif, jpeg, png, tiff, webp
from inlay_router.images.headers.damage import Damaged, TooManyParts

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

_Reader: TypeAlias = Callable[[bytes], tuple[int, int]]
_READERS: tuple[tuple[bytes | tuple[bytes, ...], _Reader], ...] = (
    (png.SIGNATURE, png.size),
    (jpeg.SIGNATURE, jpeg.size),
    (gif.SIGNATURES, gif.size),
    (bmp.SIGNATURE, bmp.size),
    (tiff.SIGNATURES, tiff.size),
)

_NAMES = {
    "AVIF": (b"ftypavif", b"ftypavis"),
    "HEIC": (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"),
    "PDF": (b"%PDF",),
    "PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "Photoshop": (b"8BPS",),
    "JPEG 2000": (b"\x00\x00\x00\x0cjP", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\xff\x0a", b"\x00\x00\x00\x0cJXL"),
    "ICO": (b"\x00\x00\x01\x00",),
    "SVG or HTML": (b"<svg", b"<?xml", b"<!DOCTYPE", b"<html", b"<HTML"),
}
"""What clients send by mistake, and how it begins; after `ftyp` stands the kind of a container."""


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, each at least 1. Of several frames the first counts.

    Not by an image library: those read all that stands in front of the pixels, and a file of a
    few megabytes can keep them busy for half a minute. Raises ValidationError.
    """
    reader = _reader_of(data)
    if reader is None:
        raise ValidationError(
            f"invalid image: not one of {', '.join(FORMATS)}{_named(data)} ({len(data)} bytes)"
        )
    try:
        width, height = reader(data)
    except TooManyParts as fault:
        raise ValidationError(f"invalid image: {fault}") from None
    except (Damaged, struct.error, IndexError, OverflowError):
        raise ValidationError("invalid image: it is damaged") from None
    if width < 1 or height < 1:
        raise ValidationError("invalid image: it has no pixels")
    return width, height


def _reader_of(data: bytes) -> _Reader | None:
    if webp.is_webp(data):
        return webp.size
    for beginnings, reader in _READERS:
        if data.startswith(beginnings):
            return reader
    return None


def _named(data: bytes) -> str:
    head = data[:64].lstrip()
    for name, beginnings in _NAMES.items():
        if head.startswith(beginnings) or data[4:12] in beginnings:
            return f" but {name}"
    return ""
