"""WebP: the first chunk is a canvas, a bit stream or a key frame (RFC 9649)."""

from inlay_router.images.headers.damage import Damaged


def is_webp(data: bytes) -> bool:
    """Whether it begins like one."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises Damaged."""
    kind = data[12:16] if len(data) >= 30 else b""
    if kind == b"VP8X":
        return _number(data[24:27]) + 1, _number(data[27:30]) + 1
    if kind == b"VP8L":
        bits = _number(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _number(data[26:28]) & 0x3FFF, _number(data[28:30]) & 0x3FFF
    raise Damaged


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
