"""Images that are too large, damaged, or not images at all."""

import base64
import hashlib
import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inlay_router.errors import ValidationError
from inlay_router.images import FORMATS, ImageCheck, ImageLimits, read_data_uri

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


def noisy(format: str) -> bytes:
    buffer = BytesIO()
    Image.effect_noise((90, 90), 90).convert("RGB").save(buffer, format)
    return buffer.getvalue()


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
    assert words.startswith("invalid image: not one of PNG, JPEG, WEBP, GIF, BMP, TIFF (")


@pytest.mark.parametrize(
    "data", [b"", b"x", b"<html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert refusal(data).startswith("invalid image: ")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(format: str, share: float) -> None:
    data = noisy(format)
    limits = ImageLimits(max_bytes=10**6, max_pixels=10_000)
    assert refusal(data[: int(len(data) * share)], limits).startswith("invalid image: ")


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("size", [(101, 100), (30_000, 30_000), (1_000_000, 1_000)])
def test_pixels_are_counted_before_they_are_decoded(size: tuple[int, int]) -> None:
    width, height = size
    words = f"invalid image: {width}x{height} exceeds the maximum of 10000 pixels"
    assert refusal(png_of(width, height)) == words


def test_as_many_pixels_as_allowed_are_allowed() -> None:
    ImageCheck(LIMITS).check(encoded(size=(100, 100)))


def test_an_image_that_passed_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    check = ImageCheck(LIMITS, max_remembered=1)
    data, other = encoded(), encoded(size=(3, 3))
    first = check.check(data)
    monkeypatch.setattr(Image, "open", None)
    assert check.check(data) == first
    with pytest.raises(ValidationError):
        check.check(other)
    monkeypatch.undo()
    check.check(other)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ValidationError):
        check.check(data)


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
