"""GIF: a canvas, extensions, and the first frame, which may reach beyond (GIF89a, section 19)."""

from struct import unpack_from

from inlay_router.images.headers.damage import Damaged, TooManyParts

SIGNATURES = (b"GIF87a", b"GIF89a")
MAX_BLOCKS = 20_000
"""In front of the pixels. A block has up to 255 bytes, and profiles of colours may have many."""

_EXTENSION, _FRAME, _END = b"!,;"
_COMMENT, _APPLICATION = 0xFE, 0xFF
_LOOPS = b"NETSCAPE2.0"


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises Damaged, TooManyParts, and struct.error or IndexError where the
    file ends."""
    place, num_blocks = 13 + _num_palette_bytes(data[10]), 0
    while data[place] != _FRAME:
        if data[place] == _END:
            raise Damaged
        if data[place] == _EXTENSION:
            place, num_blocks = _skip_extension(data, place + 1, num_blocks)
        else:
            place, num_blocks = place + 1, num_blocks + 1
        if num_blocks > MAX_BLOCKS:
            raise TooManyParts("blocks", MAX_BLOCKS)
    width, height = unpack_from("<HH", data, 6)
    left, top, frame_width, frame_height = unpack_from("<HHHH", data, place + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def _num_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_extension(data: bytes, place: int, num_blocks: int) -> tuple[int, int]:
    """The place behind the extension whose kind stands at `place`, and the blocks so far."""
    _check_beginning(data, place)
    place += 1
    while num_bytes := data[place]:
        place += 1 + num_bytes
        num_blocks += 1
        if num_blocks > MAX_BLOCKS:
            break
    return place + 1, num_blocks + 1


def _check_beginning(data: bytes, place: int) -> None:
    """An extension without the block that it is about: decoders differ in where it ends."""
    kind, num_bytes = data[place], data[place + 1]
    if kind != _COMMENT and not num_bytes:
        raise Damaged
    loops = kind == _APPLICATION and data.startswith(_LOOPS, place + 2)
    if loops and not data[place + 2 + num_bytes]:
        raise Damaged
