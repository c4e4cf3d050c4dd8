"""JPEG: segments behind markers; that of the frame says the size (ITU-T T.81, annex B)."""

import re
from collections.abc import Iterator
from struct import unpack_from

from inlay_router.images.headers.damage import Damaged, TooManyParts

SIGNATURE = b"\xff\xd8\xff"
MAX_SEGMENTS = 1000
MAX_SCANNED_PIXELS = 1 << 31
"""Pixels times scans. A file of some kilobytes can have a thousand scans, each of which a decoder
carries through all pixels; cameras and programs write some ten at most."""

_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
"""Neither a byte of pixels, nor a restart among them, nor filling."""
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_SCAN = 0xDA
_END = 0xD9
_KNOWN = _FRAMES | {_SCAN, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}
"""Those, tables, settings, data of applications, comments."""


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises Damaged, TooManyParts, and struct.error where the file ends."""
    frame: tuple[int, int] | None = None
    for marker, place in _segments(data, 2):
        if marker in _FRAMES:
            if frame is not None:
                raise Damaged
            height, width = unpack_from(">HH", data, place + 3)
            frame = width, height
        elif marker == _SCAN and frame is not None:
            _check_scans(data, place, *frame)
            return frame
    raise Damaged


def _segments(data: bytes, place: int) -> Iterator[tuple[int, int]]:
    """The marker of each segment from `place` on, and where its length stands, up to the end of
    the image."""
    for _ in range(MAX_SEGMENTS + 1):
        found = _MARKER.search(data, place)
        if found is None or found[1][0] == _END:
            return
        marker, place = found[1][0], found.end()
        if marker not in _KNOWN:
            raise Damaged
        (num_bytes,) = unpack_from(">H", data, place)
        yield marker, place
        place += num_bytes
    raise TooManyParts("segments", MAX_SEGMENTS)


def _check_scans(data: bytes, place: int, width: int, height: int) -> None:
    """`place` is that of the first scan."""
    limit = MAX_SCANNED_PIXELS // max(width * height, 1)
    # Other bytes may look like a scan, a film behind the picture for one: if there are not many,
    # nobody has to look closer.
    if data.count(b"\xff\xda", place) < limit:
        return
    num_scans = 1 + sum(marker == _SCAN for marker, _ in _segments(data, place))
    if num_scans > limit:
        raise TooManyParts(f"scans of {width}x{height}", limit)
