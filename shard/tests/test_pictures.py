"""Images as clients send them, and the RGB pixels that the processor sees."""

import io

import numpy as np
import pytest
from PIL import Image

from inlay_shard.errors import PreparationRefused
from inlay_shard.pictures import read_picture


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


def test_truncated_image_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(encoded(Image.fromarray(noise))[:2000])


def test_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        read_picture(encoded(Image.new("RGB", (12, 12))))
