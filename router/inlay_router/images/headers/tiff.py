"""TIFF and BigTIFF: a directory of entries, of which two say the size (TIFF 6.0, section 2)."""

from collections.abc import Iterator
from struct import unpack_from

from inlay_router.images.headers.damage import Damaged, TooManyParts

SIGNATURES = (b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0")
"""The last is BigTIFF; Pillow reads none whose first byte is the highest."""
MAX_ENTRIES = 1000

_WIDTH, _HEIGHT = 256, 257
_NUMBERS = {3: "H", 4: "L", 16: "Q"}
"""Of one value, by the type of an entry."""


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises Damaged, TooManyParts, and struct.error or OverflowError where an
    offset leads out of the file."""
    order = "<" if data[:2] == b"II" else ">"
    found: dict[int, int] = {}
    for tag, kind, num_values, value in _entries(data, order):
        if tag not in (_WIDTH, _HEIGHT):
            continue
        if tag in found or num_values != 1 or kind not in _NUMBERS:
            raise Damaged
        (found[tag],) = unpack_from(order + _NUMBERS[kind], value)
    if len(found) != 2:
        raise Damaged
    return found[_WIDTH], found[_HEIGHT]


def _entries(data: bytes, order: str) -> Iterator[tuple[int, int, int, bytes]]:
    """Tag, type, number of values, and the bytes of a value that fits in there."""
    is_big = data.startswith(SIGNATURES[2])
    (place,) = unpack_from("<Q" if is_big else order + "L", data, 8 if is_big else 4)
    (num_entries,) = unpack_from("<Q" if is_big else order + "H", data, place)
    if num_entries > MAX_ENTRIES:
        raise TooManyParts("entries", MAX_ENTRIES)
    place += 8 if is_big else 2
    for _ in range(num_entries):
        yield unpack_from("<HHQ8s" if is_big else order + "HHL4s", data, place)
        place += 20 if is_big else 12
