"""BMP: one of several headers that begin with their lengths."""

from struct import unpack_from

from inlay_router.images.headers.damage import Damaged

SIGNATURE = b"BM"

_OLD = 12
_NEW = frozenset({40, 52, 56, 64, 108, 124})


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises Damaged, and struct.error where the file ends."""
    (num_bytes,) = unpack_from("<I", data, 14)
    if num_bytes == _OLD:
        width, height = unpack_from("<HH", data, 18)
        return width, height
    if num_bytes not in _NEW:
        raise Damaged
    width, height = unpack_from("<Ii", data, 18)
    return width, abs(height)  # below 0: rows from the top
