"""Image files, given to the router's check and then to what decodes them in a worker."""

import struct
import warnings
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from random import Random

from PIL import Image

from fuzz.bodies import picture
from fuzz.mutation import damage
from fuzz.target import Target, Try, check_words, must
from inlay_router.errors import ValidationError
from inlay_router.images.image_header import FORMATS, read_size
from inlay_router.images.inspection import ImageCheck, ImageLimits
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.pictures import read_picture

_LIMITS = ImageLimits(max_bytes=1 << 20, max_pixels=1 << 20)
_WORDS = (
    *(b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"zTXt", b"iTXt", b"iCCP", b"acTL", b"fcTL"),
    *(b"eXIf", b"\xff\xd8", b"\xff\xd9", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xda"),
    *(b"\xff\xe1\0\x20Exif\0\0II*\0", b"\xff\xeeAdobe", b"RIFF", b"WEBP", b"VP8 ", b"VP8L"),
    *(b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"GIF89a", b"\x21\xf9\x04", b"\x2c", b"\x3b"),
    *(b"BM", b"\x28\0\0\0", b"II*\0", b"MM\0*", b"8BPS", b"%!PS-Adobe-3.0 EPSF", b"<svg"),
    *(b"\x89PNG\r\n\x1a\n", b"\0" * 64, b"\xff" * 64),
)


@asynccontextmanager
async def _open() -> AsyncIterator[Try]:
    warnings.simplefilter("ignore")
    check = ImageCheck(_LIMITS)

    async def attempt(data: bytes) -> str:
        return _attempt(check, data)

    yield attempt


def _attempt(check: ImageCheck, data: bytes) -> str:
    try:
        check.check(data)
    except ValidationError as error:
        return check_words(str(error), "")
    try:
        image = read_picture(data)
    except PreparationRefused as error:
        return check_words(str(error), "")
    num_pixels = image.width * image.height
    must(image.mode == "RGB", f"mode {image.mode}")
    width, height = read_size(data)
    must(width * height == num_pixels, f"{width}x{height} by the header, {image.size} in truth")
    must(0 < num_pixels <= _LIMITS.max_pixels, f"{num_pixels} pixels were let through")
    return f"read {num_pixels.bit_length()}"


def _mutate(data: bytes, other: bytes, chance: Random) -> bytes:
    damaged = damage(data, other, chance, _WORDS)
    return _with_sums(damaged) if chance.random() < 0.7 else damaged


def _with_sums(data: bytes) -> bytes:
    """A PNG whose chunks have the check sums of their damaged content, so that they are read."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    made = data[:8]
    place = 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        body = data[place + 4 : place + 8 + length]
        made += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return made + data[place:]


def _seeds() -> list[bytes]:
    files = [picture(kind) for kind in FORMATS]
    files += [picture("PNG", mode=mode) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")]
    files += [picture("TIFF", mode=mode) for mode in ("1", "L", "P", "CMYK", "RGBA", "F")]
    files += [picture("JPEG", mode=mode) for mode in ("L", "CMYK")]
    files += [picture(kind, size=(1, 4000)) for kind in FORMATS]
    return [*files, *_variants(), *_animations()]


def _variants() -> list[bytes]:
    image = Image.effect_noise((40, 30), 90)
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    options: list[tuple[str, dict[str, object]]] = [
        ("JPEG", {"progressive": True, "exif": exif}),
        ("JPEG", {"quality": 5, "icc_profile": b"x" * 100}),
        ("PNG", {"exif": exif, "icc_profile": b"x" * 100}),
        ("WEBP", {"lossless": True, "exif": exif}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "packbits"}),
        ("TIFF", {"compression": "jpeg"}),
    ]
    for kind, settings in options:
        buffer = BytesIO()
        image.save(buffer, kind, **settings)
        made.append(buffer.getvalue())
    return made


def _animations() -> list[bytes]:
    frames = [Image.new("RGBA", (20, 20), color) for color in ("red", "#00ff0080", "blue")]
    made = []
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        buffer = BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        made.append(buffer.getvalue())
    return made


IMAGES = Target(name="images", seeds=_seeds, mutate=_mutate, open=_open, weight=8)
