"""How keys and values lie in the blocks of the compiled tower: as panels that products read.

Within a block each KV head has block_size * width numbers. Its keys are packed, as `packing` lays
out a linear layer, from the numbers of a head to positions, PANEL positions to a panel; its values
from the block's positions to the numbers of a head, PANEL numbers to a panel. With P for PANEL and
for types of two bytes (those of four are not paired):

    keys      [block][kv_head][position / P][number / 2][position % P][number % 2]
    values    [block][kv_head][number / P][position / 2][number % P][position % 2]

The width is the size of a head, rounded up to whole panels.
"""

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.forms import PANEL


def padded_width(head_size: int) -> int:
    """Numbers that a head takes in the cache."""
    return -(-head_size // PANEL) * PANEL


def fits(block_size: int) -> bool:
    """Whether blocks of so many positions can be laid out: whole panels."""
    return block_size % PANEL == 0


@compiled()
def head_start(cache, block, num_kv_heads, head):  # type: ignore[no-untyped-def]
    """Where the numbers of one KV head begin in the keys, or the values, of a layer."""
    return (block * num_kv_heads + head) * cache.block_size * cache.width


@compiled()
def key_place(itemsize, width, offset, number):  # type: ignore[no-untyped-def]
    """Where a number of a key lies behind `head_start`. offset: the position within its block."""
    together = 2 if itemsize == 2 else 1
    place = offset // PANEL * PANEL * width + offset % PANEL * together
    return place + number // together * PANEL * together + number % together


@compiled()
def value_place(itemsize, block_size, offset, number):  # type: ignore[no-untyped-def]
    """Where a number of a value lies behind `head_start`."""
    together = 2 if itemsize == 2 else 1
    place = offset // together * PANEL * together + offset % together
    return place + number // PANEL * PANEL * block_size + number % PANEL * together
