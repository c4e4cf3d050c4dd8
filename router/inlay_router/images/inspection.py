"""Checks an image as a client sent it by its size and its header; nothing is decoded here."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from threading import Lock
from urllib.parse import unquote_to_bytes

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError
from inlay_router.images.image_header import read_size


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """How large an image may be."""

    max_bytes: int
    """Of the encoded file."""
    max_pixels: int
    """Width times height."""
    max_total_bytes: int = 64 * 1024 * 1024
    """Of all encoded files of one prompt."""
    max_total_pixels: int = 256 * 1024 * 1024
    """Of all images of one prompt."""


class ImageBudget:
    """What is left for the images of one prompt. For any thread."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._num_bytes = 0
        self._num_pixels = 0
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"ImageBudget({self._num_bytes} bytes and {self._num_pixels} pixels spent)"

    def spend_bytes(self, num_bytes: int) -> None:
        """More of an encoded image has come. Raises ValidationError when all is spent."""
        with self._lock:
            self._num_bytes += num_bytes
        _check_sum("bytes", self._num_bytes, self._limits.max_total_bytes)

    def spend_pixels(self, num_pixels: int) -> None:
        """An image will be decoded. Raises ValidationError when all is spent."""
        with self._lock:
            self._num_pixels += num_pixels
        _check_sum("pixels", self._num_pixels, self._limits.max_total_pixels)


def _check_sum(unit: str, number: int, most: int) -> None:
    if number > most:
        raise ValidationError(
            f"the images of a prompt may have {most} {unit} together. Given: at least {number}"
        )


class ImageCheck:
    """Checks images. For any thread."""

    def __init__(self, limits: ImageLimits) -> None:
        self.limits = limits

    def check(self, data: bytes, budget: ImageBudget | None = None) -> pb.Image:
        """An image of an allowed format and size, with its digest. Whether it can be decoded is
        found out by the shards' image workers, whose memory is limited.

        Takes the time of hashing: call it from a thread. Raises ValidationError.
        """
        check_size(len(data), self.limits)
        width, height = read_size(data)
        _check_pixels(width, height, self.limits)
        if budget is not None:
            budget.spend_pixels(width * height)
        return pb.Image(data=data, digest=hashlib.sha256(data).digest())


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


def _check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise ValidationError(
            f"invalid image: {width}x{height} exceeds the maximum of {limits.max_pixels} pixels"
        )
