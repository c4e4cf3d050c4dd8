"""Checks an image as a client sent it: size, format, pixels from the header, then every byte."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from io import BytesIO
from threading import Lock
from urllib.parse import unquote_to_bytes

from inlay_grammars.cache import RecentlyUsed
from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """How large an image may be."""

    max_bytes: int
    """Of the encoded file."""
    max_pixels: int
    """Width times height."""


class ImageCheck:
    """Checks images; one that passed not again, as long as it is remembered. For any thread."""

    def __init__(self, limits: ImageLimits, *, max_remembered: int = 4096) -> None:
        self.limits = limits
        self._passed: RecentlyUsed[bool] = RecentlyUsed(max_remembered)
        self._lock = Lock()

    def check(self, data: bytes) -> pb.Image:
        """An image that decodes completely, with its digest. Of several frames the first counts.

        Takes the time of decoding: call it from a thread. Raises ValidationError.
        """
        check_size(len(data), self.limits)
        digest = hashlib.sha256(data).digest()
        if not self._has_passed(digest):
            _decode(data, self.limits)
            with self._lock:
                self._passed.put(digest, True)
        return pb.Image(data=data, digest=digest)

    def _has_passed(self, digest: bytes) -> bool:
        with self._lock:
            return self._passed.get(digest) is not None


def check_size(num_bytes: int, limits: ImageLimits) -> None:
    """Raises ValidationError when an encoded image is too long."""
    if num_bytes > limits.max_bytes:
        raise ValidationError(
            f"Image size {num_bytes} bytes exceeds maximum allowed size of {limits.max_bytes} bytes"
        )


def read_data_uri(uri: str) -> bytes:
    """The bytes of `data:[type][;parameter…][;base64],…` (RFC 2397).

    Base64 may lack its padding, hold white space, or use the alphabet of URLs.
    Raises ValidationError, without a word of the payload.
    """
    header, comma, payload = uri[len("data:") :].partition(",")
    if not comma:
        raise ValidationError("invalid image content: a data URI needs a `,` before its data")
    data = unquote_to_bytes(payload)
    *_, last_parameter = header.split(";")
    is_base64 = ";" in header and last_parameter.strip().lower() == "base64"
    return _read_base64(data) if is_base64 else data


def _read_base64(text: bytes) -> bytes:
    text = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValidationError(
            f"base64 encoding is invalid: {error}, in the data URI of an image"
        ) from None


def _decode(data: bytes, limits: ImageLimits) -> None:
    # Here, so that a router without images never loads it.
    from PIL import Image, UnidentifiedImageError

    # Our own limit takes the place of Pillow's, which warns first and refuses at twice the size.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_pixels(image.width, image.height, limits)
            # A JPEG at an eighth of its size still reads every byte, for a fraction of the memory.
            image.draft(None, (1, 1))
            image.load()
    except ValidationError:
        raise
    except UnidentifiedImageError:
        raise ValidationError(
            f"invalid image: not one of {', '.join(FORMATS)} ({len(data)} bytes)"
        ) from None
    except Exception as error:
        # Pillow's readers raise whatever their parsing meets: OSError, SyntaxError, ValueError,
        # struct.error, EOFError, OverflowError and more.
        raise ValidationError(f"invalid image: {_words(error)}") from None


def _check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise ValidationError(
            f"invalid image: {width}x{height} exceeds the maximum of {limits.max_pixels} pixels"
        )
    if width < 1 or height < 1:
        raise ValidationError(f"invalid image: {width}x{height} has no pixels")


def _words(error: Exception) -> str:
    text = str(error)
    is_speakable = isinstance(error, (OSError, SyntaxError, ValueError)) and "\n" not in text
    return text[:200] if text and is_speakable else "it is damaged"
