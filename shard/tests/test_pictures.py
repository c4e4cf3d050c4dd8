"""Images as clients send them, and the RGB pixels that the processor sees."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.pictures import read_picture


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_white_is_white_in_every_mode(mode: str) -> None:
    white = 65535 if mode == "I;16" else 255
    image = Image.new("L" if mode == "I;16" else "RGB", (4, 3), "white")
    image = Image.new(mode, (4, 3), white) if mode == "I;16" else image.convert(mode)
    read = read_picture(encoded(image))
    assert (read.mode, read.size) == ("RGB", (4, 3))
    assert np.asarray(read).min() == 255


def test_cmyk_jpeg() -> None:
    read = read_picture(encoded(Image.new("CMYK", (8, 8)), "JPEG"))
    assert np.asarray(read).min() > 250


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert read_picture(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 2), 3)
    palette.putpalette([0] * 768)
    assert read_picture(encoded(palette, transparency=3)).getpixel((0, 0)) == (255, 255, 255)


def test_16_bits_are_scaled() -> None:
    values = np.array([[0, 32768, 65535]], np.uint16)
    read = read_picture(encoded(Image.fromarray(values)))
    assert np.asarray(read)[0, :, 0].tolist() == [0, 128, 255]


def test_exif_turns_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    read = read_picture(encoded(Image.new("RGB", (6, 2)), "JPEG", exif=exif))
    assert read.size == (2, 6)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(data)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_unpacks_to_much_more(kind: bytes) -> None:
    packed = zlib.compress(bytes(50_000_000))
    body = {
        b"zTXt": b"key\0\0" + packed,
        b"iTXt": b"key\0\1\0\0\0" + packed,
        b"iCCP": b"key\0\0" + packed,
    }[kind]
    data = encoded(Image.new("RGB", (9, 7)))
    bomb = data[:33] + png_chunk(kind, body) + data[33:]
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(bomb)


def test_truncated_image_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(encoded(Image.fromarray(noise))[:2000])


@pytest.mark.parametrize("format", ["EPS", "PPM", "ICO", "TGA", "PDF", "JPEG2000"])
def test_other_formats_are_not_even_tried(format: str) -> None:
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(encoded(Image.new("RGB", (16, 16)), format))


def test_a_refusal_says_nothing_of_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("cannot identify <_io.BytesIO object at 0x7f0000000000>")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(PreparationRefused) as caught:
        read_picture(b"x")
    assert str(caught.value) == "the image cannot be decoded: it is damaged"


def as_transformers_loads_it(data: bytes) -> Image.Image:
    """What `transformers.image_utils.load_image` does with a file."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def noise(mode: str) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (9, 13, 4), dtype=np.uint8)
    values[..., 3] = 255
    if mode in ("LAB", "CMYK"):
        bands = [Image.fromarray(values[..., band]) for band in range(len(mode))]
        return Image.merge(mode, bands)
    image = Image.fromarray(values)
    return image.convert(mode) if "A" in mode else image.convert("RGB").convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    + [(mode, "TIFF") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB")]
    + [(mode, "JPEG") for mode in ("L", "RGB", "CMYK")]
    + [(mode, "WEBP") for mode in ("L", "RGB", "RGBA")]
    + [(mode, "BMP") for mode in ("1", "L", "P", "RGB")]
    + [(mode, "GIF") for mode in ("L", "P", "RGB")],
)
@pytest.mark.parametrize("turn", range(1, 9))
def test_opaque_images_are_as_transformers_loads_them(mode: str, kind: str, turn: int) -> None:
    """In every mode, turned in every way."""
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {} if kind in ("BMP", "GIF") else {"exif": exif}
    data = encoded(noise(mode), kind, **options)
    read, expected = read_picture(data), as_transformers_loads_it(data)
    assert read.size == expected.size
    assert np.array_equal(np.asarray(read), np.asarray(expected))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (6, 5), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    read = read_picture(data)
    assert read.size == (6, 5)
    assert read.getpixel((3, 2)) == (255, 0, 0)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_a_file_that_ends_too_soon_is_refused(kind: str, share: float) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((90, 90), 90).convert("RGB").save(buffer, kind)
    data = buffer.getvalue()
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(data[: int(len(data) * share)])


def test_libtiff_says_nothing_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    image = Image.effect_noise((64, 64), 80)
    data = bytearray(encoded(image, "TIFF", compression="tiff_adobe_deflate"))
    data[40:400] = bytes(360)
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(bytes(data))
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"
