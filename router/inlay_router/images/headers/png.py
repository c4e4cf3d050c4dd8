"""PNG: chunks, of which the first says the size (ISO/IEC 15948, section 11.2.2)."""

from struct import unpack_from

from inlay_router.images.headers.damage import Damaged, TooManyParts

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 1000
"""In front of the pixels."""

_FIRST = b"\0\0\0\x0dIHDR"
_PIXELS = (b"IDAT", b"fdAT")


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises Damaged, TooManyParts, and struct.error where the file ends."""
    if data[8:16] != _FIRST:
        raise Damaged
    place = 8
    for _ in range(MAX_CHUNKS + 1):
        num_bytes: int
        num_bytes, kind = unpack_from(">I4s", data, place)
        if kind in _PIXELS:
            width, height = unpack_from(">II", data, 16)
            return width, height
        if kind == b"IEND" or (kind == b"IHDR" and place > 8):
            raise Damaged
        place += 12 + num_bytes
    raise TooManyParts("chunks", MAX_CHUNKS)
