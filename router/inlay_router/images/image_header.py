"""Reads the format and the size of an image from its header."""

from io import BytesIO

from inlay_router.errors import ValidationError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

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

    Raises ValidationError, in words of our own: those of an image library may tell of its memory.
    """
    # Here, so that a router without images never loads it.
    from PIL import Image, UnidentifiedImageError

    # Our own limit takes the place of Pillow's, which warns first and refuses at twice the size.
    Image.MAX_IMAGE_PIXELS = None
    width, height = _size_of_webp(data)
    try:
        if not width:
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
    except UnidentifiedImageError:
        raise ValidationError(
            f"invalid image: not one of {', '.join(FORMATS)}{_named(data)} ({len(data)} bytes)"
        ) from None
    except Exception:
        # Pillow's readers raise whatever their parsing meets: OSError, SyntaxError, ValueError,
        # struct.error, EOFError, OverflowError and more.
        raise ValidationError("invalid image: it is damaged") from None
    if width < 1 or height < 1:
        raise ValidationError(f"invalid image: {width}x{height} has no pixels")
    return width, height


def _size_of_webp(data: bytes) -> tuple[int, int]:
    """Of a WebP file, (0, 0) of others. Pillow would set the whole canvas up to find it out.

    The first chunk is VP8X (a canvas), VP8L (one bit stream) or VP8 (a key frame), as in
    RFC 9649.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return 0, 0
    kind = data[12:16]
    if kind == b"VP8X":
        return _number(data[24:27]) + 1, _number(data[27:30]) + 1
    if kind == b"VP8L":
        bits = _number(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _number(data[26:28]) & 0x3FFF, _number(data[28:30]) & 0x3FFF
    return 0, 0


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _named(data: bytes) -> str:
    head = data[:64].lstrip()
    for name, beginnings in _NAMES.items():
        if head.startswith(beginnings) or data[4:12] in beginnings:
            return f" but {name}"
    return ""
