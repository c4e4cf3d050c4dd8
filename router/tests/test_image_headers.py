"""Files that would keep a reader of headers busy, or let two readers find two sizes."""

import struct
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from inlay_router.errors import ValidationError
from inlay_router.images.headers import gif, jpeg, png, tiff
from inlay_router.images.image_header import read_size

PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x09\0\0\0\7\x08\2\0\0\0\0\0\0\0"
IDAT = b"\0\0\0\0IDAT\0\0\0\0"
IHDR = PNG_HEAD[8:]
EMPTY_CHUNK = b"\0\0\0\0abCd\0\0\0\0"

JPEG_HEAD = b"\xff\xd8"
COMMENT = b"\xff\xfe\0\2"
FRAME = b"\xff\xc2\0\x0b\x08\0\x07\0\x09\1\1\x11\0"
SCAN = b"\xff\xda\0\x08\1\1\0\1\x3f\0"
END = b"\xff\xd9"

GIF_HEAD = b"GIF89a\x09\0\x07\0\0\0\0"
GIF_FRAME = b",\0\0\0\0\x09\0\x07\0\0"


def words(data: bytes) -> str:
    with pytest.raises(ValidationError) as caught:
        read_size(data)
    return str(caught.value).removeprefix("Input validation error: invalid image: ")


def tiff_of(entries: list[tuple[int, int, int, int]], order: str = "<") -> bytes:
    head = b"II\x2a\0" if order == "<" else b"MM\0\x2a"
    body = b"".join(
        struct.pack(
            order + "HHL" + ("HH" if kind == 3 else "L"), tag, kind, num_values, value, *rest
        )
        for tag, kind, num_values, value in entries
        for rest in [(0,) if kind == 3 else ()]
    )
    return head + struct.pack(order + "LH", 8, len(entries)) + body


SIZES = [(256, 4, 1, 9), (257, 3, 1, 7)]


def big_tiff(entries: list[tuple[int, int, int, int]]) -> bytes:
    body = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return b"II\x2b\0\x08\0\0\0" + struct.pack("<QQ", 16, len(entries)) + body


@pytest.mark.parametrize(
    "data",
    [
        PNG_HEAD + IDAT,
        PNG_HEAD + EMPTY_CHUNK * (png.MAX_CHUNKS - 1) + IDAT,
        JPEG_HEAD + FRAME + SCAN,
        JPEG_HEAD + b"\xff" * 1000 + COMMENT[1:] + b"junk" + FRAME + SCAN,
        JPEG_HEAD + COMMENT * (jpeg.MAX_SEGMENTS - 2) + FRAME + SCAN,
        JPEG_HEAD + b"\xff\xfe\0\x10" + FRAME + b"!" + FRAME + SCAN,  # the first lies in a comment
        JPEG_HEAD + FRAME + SCAN * 900 + END,
        GIF_HEAD + GIF_FRAME,
        GIF_HEAD + b"\0\0" + b"!\xfe\3abc\0" + b"!\xfe\0" + GIF_FRAME,
        b"GIF87a\1\0\1\0\0\0\0,\4\0\5\0\5\0\2\0\0",  # the frame reaches beyond the canvas
        b"GIF89a\x09\0\x07\0\x80\0\0" + b",;!,;!" + GIF_FRAME,  # a palette that looks like blocks
        b"BM" + bytes(12) + struct.pack("<IHH", 12, 9, 7),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 9, -7),
        tiff_of(SIZES),
        tiff_of(SIZES, order=">"),
        tiff_of([*SIZES, *[(40000, 1, 1, 0)] * (tiff.MAX_ENTRIES - 2)]),
        tiff_of([*SIZES, (700, 1, 1 << 31, 8)]),  # what lies elsewhere is not fetched
        big_tiff([(256, 16, 1, 9), (257, 4, 1, 7)]),
    ],
)
def test_a_size_is_found(data: bytes) -> None:
    assert read_size(data) == (9, 7)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (PNG_HEAD + EMPTY_CHUNK * png.MAX_CHUNKS + IDAT, f"{png.MAX_CHUNKS} chunks"),
        (JPEG_HEAD + COMMENT * 1001 + FRAME + SCAN, f"{jpeg.MAX_SEGMENTS} segments"),
        (GIF_HEAD + b"!\xfe\1a\0" * gif.MAX_BLOCKS + GIF_FRAME, f"{gif.MAX_BLOCKS} blocks"),
        (GIF_HEAD + b"!\xfe" + b"\1a" * 20_001 + b"\0" + GIF_FRAME, f"{gif.MAX_BLOCKS} blocks"),
        (GIF_HEAD + bytes(gif.MAX_BLOCKS + 1) + GIF_FRAME, f"{gif.MAX_BLOCKS} blocks"),
        (tiff_of([*SIZES, *[(40000, 1, 1, 0)] * 1000]), f"{tiff.MAX_ENTRIES} entries"),
        (big_tiff([])[:16] + b"\xff" * 8 + bytes(50), f"{tiff.MAX_ENTRIES} entries"),
    ],
)
def test_more_parts_than_a_picture_needs_are_not_read(data: bytes, parts: str) -> None:
    assert words(data) == f"it has more than {parts}"


def progressive(num_scans: int, behind: bytes = b"", side: int = 4096) -> bytes:
    """A JPEG of `side` pixels square, most of whose scans are empty."""
    frame = b"\xff\xc2\0\x0b\x08" + struct.pack(">HH", side, side) + b"\1\1\x11\0"
    return JPEG_HEAD + frame + SCAN * num_scans + END + behind


def test_scans_cost_as_much_as_their_pixels() -> None:
    assert read_size(progressive(128)) == (4096, 4096)
    assert words(progressive(129)) == "it has more than 128 scans of 4096x4096"
    assert read_size(progressive(900, side=1024)) == (1024, 1024)


def test_what_only_looks_like_scans_costs_nothing() -> None:
    """A film behind a picture, or its pixels."""
    assert read_size(progressive(100, behind=SCAN * 5000)) == (4096, 4096)
    comment = b"\xff\xfe\x08\x02" + b"\xff\xda" * 1024
    data = progressive(100)
    assert read_size(data[:2] + comment + data[2:]) == (4096, 4096)
    assert read_size(data.replace(SCAN, SCAN + b"\xff\0\xda\xff\xd0\xda")) == (4096, 4096)


def test_a_scan_is_not_hidden_behind_an_end_in_a_comment() -> None:
    hidden = progressive(1).removesuffix(END) + b"\xff\xfe\0\4" + END + SCAN * 200
    assert words(hidden) == "it has more than 128 scans of 4096x4096"


@pytest.mark.parametrize(
    "data",
    [
        PNG_HEAD + IHDR + IDAT,
        PNG_HEAD + b"\0\0\0\0IEND\0\0\0\0" + IDAT,
        PNG_HEAD + b"\xff\xff\xff\xffabCd" + IDAT,
        PNG_HEAD[:8] + EMPTY_CHUNK + IHDR + IDAT,
        PNG_HEAD,
        JPEG_HEAD + FRAME + FRAME + SCAN,
        JPEG_HEAD + SCAN + FRAME,
        JPEG_HEAD + FRAME,
        JPEG_HEAD + b"\xff\xf0" + FRAME + SCAN,  # reserved: does a length follow?
        JPEG_HEAD + b"\xff\xde" + FRAME[2:] + FRAME + SCAN,  # a hierarchy of frames
        JPEG_HEAD + b"\xff\xfe",
        GIF_HEAD,
        GIF_HEAD + b";" + GIF_FRAME,
        GIF_HEAD + b"!\xf9\0" + GIF_FRAME,
        GIF_HEAD + b"!\xff\x0bNETSCAPE2.0\0" + GIF_FRAME,
        GIF_HEAD[:8],
        b"BM" + bytes(12) + struct.pack("<Iii", 41, 9, 7),
        b"BM",
        tiff_of([*SIZES, SIZES[0]]),
        tiff_of(SIZES[:1]),
        tiff_of([(256, 4, 2, 9), SIZES[1]]),
        tiff_of([(256, 5, 1, 9), SIZES[1]]),
        tiff_of([(256, 16, 1, 9), SIZES[1]]),  # eight bytes where four are
        tiff_of(SIZES)[:20],
        b"MM\0\x2a\xff\xff\xff\xff",
        b"II\x2b\0\x08\0\0\0" + b"\xff" * 8,
        b"RIFF\0\0\0\0WEBPVP8X",
        b"RIFF\0\0\0\0WEBPALPH" + bytes(30),
    ],
)
def test_what_is_not_understood_is_damage(data: bytes) -> None:
    assert words(data) == "it is damaged"


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"progressive": True, "comment": b"\xff\xda" * 300}),
        ("JPEG", {"icc_profile": bytes(range(256)) * 2000}),
        ("PNG", {"icc_profile": bytes(1000)}),
        ("GIF", {"comment": b"x" * 5000, "save_all": True, "loop": 0, "duration": 10}),
        ("TIFF", {"compression": "tiff_lzw", "description": "x" * 3000}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_the_same_size_as_a_decoder_finds(format: str, options: dict[str, Any]) -> None:
    buffer = BytesIO()
    Image.effect_noise((300, 70), 90).save(buffer, format, **options)
    with Image.open(buffer) as decoded:
        assert read_size(buffer.getvalue()) == decoded.size == (300, 70)
