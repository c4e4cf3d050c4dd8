"""Images that are too large, damaged, or not images at all."""

import base64
import hashlib
import struct
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inlay_router.errors import ValidationError
from inlay_router.images.image_header import FORMATS, read_size
from inlay_router.images.inspection import ImageBudget, ImageCheck, ImageLimits, read_data_uri

LIMITS = ImageLimits(max_bytes=100_000, max_pixels=10_000)


def encoded(format: str = "PNG", size: tuple[int, int] = (9, 7), mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, 1).save(buffer, format)
    return buffer.getvalue()


def refusal(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(ValidationError) as caught:
        ImageCheck(limits).check(data)
    words = str(caught.value)
    assert "BytesIO" not in words and len(words) < 300
    return words.removeprefix("Input validation error: ")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_allowed(format: str) -> None:
    data = encoded(format)
    image = ImageCheck(LIMITS).check(data)
    assert image.data == data
    assert image.digest == hashlib.sha256(data).digest()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_mode_is_allowed(mode: str) -> None:
    ImageCheck(LIMITS).check(encoded(mode=mode))


def test_of_several_frames_the_first_counts() -> None:
    buffer = BytesIO()
    frames = [Image.new("P", (5, 5), color) for color in (1, 2, 3)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    ImageCheck(LIMITS).check(buffer.getvalue())


@pytest.mark.parametrize("format", ["PPM", "ICO", "TGA", "JPEG2000", "PDF", "EPS"])
def test_other_formats_are_refused(format: str) -> None:
    words = refusal(encoded(format, size=(16, 16)))
    assert words.startswith("invalid image: not one of PNG, JPEG, WEBP, GIF, BMP, TIFF")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\1\0\1\0\x10\x10", "ICO"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "PostScript"),
        (b"%PDF-1.7", "PDF"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG or HTML"),
        (b"<!DOCTYPE html><title>404", "SVG or HTML"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x0a\x00\x00", "JPEG XL"),
    ],
)
def test_what_clients_take_for_an_image_is_named(data: bytes, name: str) -> None:
    words = f"invalid image: not one of {', '.join(FORMATS)} but {name} ({len(data)} bytes)"
    assert refusal(data) == words


@pytest.mark.parametrize(
    "data", [b"", b"x", b"<html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert refusal(data).startswith("invalid image: ")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data


@pytest.mark.parametrize("size", [(101, 100), (30_000, 30_000), (1_000_000, 1_000)])
def test_pixels_are_counted_before_they_are_decoded(size: tuple[int, int]) -> None:
    width, height = size
    words = f"invalid image: {width}x{height} exceeds the maximum of 10000 pixels"
    assert refusal(png_of(width, height)) == words


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (255, 257)])
def test_the_size_is_that_which_a_decoder_finds(format: str, size: tuple[int, int]) -> None:
    assert read_size(encoded(format, size=size)) == size


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0"}, {"quality": 1}])
def test_the_size_of_every_kind_of_webp(options: dict[str, Any]) -> None:
    buffer = BytesIO()
    Image.new("RGB", (300, 7)).save(buffer, "WEBP", **options)
    assert read_size(buffer.getvalue()) == (300, 7)


def test_a_webp_canvas_is_not_set_up_to_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """16,384 pixels square: a gigabyte for each of two buffers."""
    head = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + bytes(40)
    monkeypatch.setattr(Image, "open", None)
    words = "invalid image: 16384x16384 exceeds the maximum of 10000 pixels"
    assert refusal(head) == words


def test_what_the_images_of_a_prompt_may_have_together() -> None:
    limits = replace(LIMITS, max_total_pixels=100, max_total_bytes=50)
    budget = ImageBudget(limits)
    check = ImageCheck(limits)
    check.check(encoded(), budget)
    with pytest.raises(ValidationError, match="may have 100 pixels together. Given: at least 126"):
        check.check(encoded(), budget)
    budget.spend_bytes(50)
    with pytest.raises(ValidationError, match="may have 50 bytes together. Given: at least 51"):
        budget.spend_bytes(1)
    assert repr(budget) == "ImageBudget(51 bytes and 126 pixels spent)"


def test_as_many_pixels_as_allowed_are_allowed() -> None:
    ImageCheck(LIMITS).check(encoded(size=(100, 100)))


def test_an_image_that_was_refused_is_refused_again() -> None:
    check = ImageCheck(LIMITS)
    for _ in range(2):
        with pytest.raises(ValidationError, match="not one of PNG"):
            check.check(b"no image")


def test_bytes_are_counted_before_anything() -> None:
    limits = ImageLimits(max_bytes=3, max_pixels=1)
    words = "Image size 4 bytes exceeds maximum allowed size of 3 bytes"
    assert refusal(b"nope", limits) == words


@given(st.binary(max_size=200), st.integers(0, 300), st.sampled_from(FORMATS))
def test_no_damage_is_worse_than_a_refusal(noise: bytes, at: int, format: str) -> None:
    data = encoded(format)
    damaged = data[:at] + noise + data[at + len(noise) :]
    try:
        ImageCheck(LIMITS).check(damaged)
    except ValidationError as error:
        assert "BytesIO" not in str(error)


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        ("data:image/png;base64,aGk=", b"hi"),
        ("data:;base64,aGk=", b"hi"),
        ("data:image/png;charset=utf-8;name=a.png;base64,aGk=", b"hi"),
        ("DATA:image/png;BASE64,aGk=", b"hi"),
        ("data:image/png;base64,aGk", b"hi"),
        ("data:image/png;base64,aG\n k=\r\n", b"hi"),
        ("data:image/png;base64,aGk%3D", b"hi"),
        ("data:image/png;base64,--__", b"\xfb\xef\xff"),
        ("data:image/png;base64,", b""),
        ("data:,a%20b%29", b"a b)"),
        ("data:text/plain,base64", b"base64"),
        ("data:base64,aGk=", b"aGk="),
        ("data:image/png,%89PNG", b"\x89PNG"),
    ],
)
def test_a_data_uri_holds_bytes(uri: str, data: bytes) -> None:
    assert read_data_uri(uri) == data


@given(st.binary())
def test_base64_comes_back(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert read_data_uri(f"data:image/png;base64,{text}") == data
    assert read_data_uri(f"data:image/png;base64,{text.rstrip('=')}") == data


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("data:", "a data URI needs a `,` before its data"),
        ("data:image/png;base64", "a data URI needs a `,` before its data"),
        ("data:image/png;base64,SECRET!", "base64 encoding is invalid: "),
        ("data:image/png;base64,SECRETSEC", "base64 encoding is invalid: "),
        ("data:image/png;base64,SEC=RET=", "base64 encoding is invalid: "),
        ("data:image/png;base64,SECRÉT", "base64 encoding is invalid: "),
    ],
)
def test_a_bad_data_uri_is_refused_without_its_payload(uri: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read_data_uri(uri)
    assert words in str(caught.value)
    assert "SEC" not in str(caught.value)
