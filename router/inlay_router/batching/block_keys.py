"""Keys of full blocks by content: a hash over all that the K and V in a block depend on."""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from inlay_router.request import ImagePlace

KEY_BYTES = 32
"""256 bits: clients choose what is hashed, so that nobody can make two prompts collide."""
_ROOT = bytes(KEY_BYTES)
"""Stands for the key in front of the first block."""
_OFFSET = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """Half-open interval [start, end) of positions, and a hash over what stands there."""

    start: int
    end: int
    key: bytes
    """KEY_BYTES long."""


def placed_images(token_ids: "array[int]", places: Iterable[ImagePlace]) -> list[PlacedImage]:
    """The images of a prompt, in order.

    The tokens are hashed too: where an image is seen in both directions, K and V of the first of
    them depend on the last, and a place may span a whole prompt.
    """
    return [
        PlacedImage(
            place.start,
            place.end,
            _hash(_hash(place.digest), token_ids[place.start : place.end].tobytes()),
        )
        for place in places
    ]


def extend_keys(
    keys: list[bytes],
    token_ids: "array[int]",
    images: Sequence[PlacedImage],
    *,
    num_blocks: int,
    block_size: int,
) -> None:
    """Append keys of full blocks until there are `num_blocks`.

    keys[i] stands for the positions [0, (i + 1) * block_size): it is a hash of keys[i - 1], of the
    block's token ids in [i * block_size, (i + 1) * block_size), and of the images that overlap
    that interval, with where it lies in them. A block behind an image depends on it by the chain.

    Keys are compared only between sequences with the same `block_size` on the same model.
    """
    for start in range(len(keys) * block_size, num_blocks * block_size, block_size):
        end = start + block_size
        parts = [keys[-1] if keys else _ROOT, token_ids[start:end].tobytes()]
        for image in images[bisect_right(images, start, key=_end) :]:
            if image.start >= end:
                break
            parts += [_OFFSET.pack(start - image.start), image.key]
        keys.append(_hash(*parts))


def _end(image: PlacedImage) -> int:
    return image.end


def _hash(*parts: bytes) -> bytes:
    """All parts have lengths that follow from where they stand, but for one at the end."""
    return blake2b(b"".join(parts), digest_size=KEY_BYTES).digest()
