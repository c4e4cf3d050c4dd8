"""Keys and values of whole pictures, laid out as `decoder.cache_layout` lays out one block.

Each KV head of each entry of a batch is a block of its own, as long as its positions, rounded up
to whole panels. Only keys are as wide as they are: their panels end where their numbers do.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.compiled import as_array, compiled
from inlay_kernels.decoder.cache_layout import padded_width
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.instructions import to_element

_SIZE: Final = PANEL * PANEL
"""Numbers of a panel of values."""


class Rows(NamedTuple):
    """The rows (batch, heads, tokens) of a tensor, each of which lies in one piece."""

    numbers: Any
    """Flat, from the first row on."""
    entry_stride: int
    """Numbers from an entry of the batch to the next."""
    head_stride: int
    token_stride: int


class Panels(NamedTuple):
    """Where keys and values are laid out."""

    num_blocks: int
    """KV heads of all entries."""
    num_kv_heads: int
    """KV heads of one."""
    num_positions: int
    num_panels: int
    """Panels that the positions of a block take."""
    key_size: int
    value_size: int
    width: int
    """Numbers of a value, rounded up to whole panels."""
    keys: Any
    """Flat: [block][panel][number / 2][position][number % 2]; float32 is not paired."""
    values: Any
    """Flat: [block][number / PANEL][panel][position / 2][number][position % 2]."""


def rows_of(tensor: Tensor) -> Rows:
    """Those of (batch, heads, tokens, size), copied only where a row is not in one piece."""
    if tensor.stride(-1) != 1:
        tensor = tensor.contiguous()
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    length = 1 + sum((count - 1) * stride for count, stride in steps)
    return Rows(as_array(tensor.as_strided((length,), (1,))), *tensor.stride()[:3])


def make_panels(key: Tensor, value: Tensor) -> Panels:
    """Room for keys and values (batch, kv_heads, positions, size)."""
    batch, num_kv_heads, num_positions, key_size = key.shape
    num_panels = -(-num_positions // PANEL)
    width = padded_width(value.shape[-1])
    num_places = batch * num_kv_heads * num_panels * PANEL
    keys, values = (torch.empty(num_places * size, dtype=key.dtype) for size in (key_size, width))
    return Panels(
        num_blocks=batch * num_kv_heads,
        num_kv_heads=num_kv_heads,
        num_positions=num_positions,
        num_panels=num_panels,
        key_size=key_size,
        value_size=value.shape[-1],
        width=width,
        keys=as_array(keys),
        values=as_array(values),
    )


@compiled()
def lay_out(state, num_threads, thread, phase, panels, key, value):  # type: ignore[no-untyped-def]
    """A phase: rows of keys and values into their panels, PANEL positions a task."""
    num_tasks, num_done = panels.num_blocks * panels.num_panels, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        block, panel = task // panels.num_panels, task % panels.num_panels
        count = min(PANEL, panels.num_positions - panel * PANEL)
        size = panels.key_size
        put = panels.keys[key_panel(panels, block, panel) :][: size * PANEL]
        _put_keys(key.numbers, _start(panels, key, block, panel), key.token_stride, count, put)
        start = _start(panels, value, block, panel)
        for part in range(0, panels.width, PANEL):
            size = min(PANEL, panels.value_size - part)
            put = panels.values[value_panel(panels, block, panel, part) :][:_SIZE]
            _put_values(value.numbers, start + part, value.token_stride, count, size, put)
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def key_panel(panels, block, panel):  # type: ignore[no-untyped-def]
    """Where a panel of keys begins."""
    return (block * panels.num_panels + panel) * PANEL * panels.key_size


@compiled()
def value_panel(panels, block, panel, part):  # type: ignore[no-untyped-def]
    """Where a panel of the numbers [part, part + PANEL) of values begins."""
    return ((block * panels.width + part) * panels.num_panels + panel * PANEL) * PANEL


@compiled()
def _start(panels, rows, block, panel):  # type: ignore[no-untyped-def]
    """Where the first row that belongs to a panel begins."""
    entry, head = block // panels.num_kv_heads, block % panels.num_kv_heads
    start = entry * rows.entry_stride + head * rows.head_stride
    return start + panel * PANEL * rows.token_stride


@compiled()
def _put_keys(numbers, start, stride, count, panel):  # type: ignore[no-untyped-def]
    """Fill a panel with `count` keys, and with zeros behind them."""
    size = len(panel) // PANEL
    if count < PANEL:
        panel[:] = to_element(panel, np.float32(0))
    for place in range(count):
        own = numbers[start + place * stride :][:size]
        if numbers.itemsize == 4:
            for number in range(size):
                panel[number * PANEL + place] = own[number]
        else:
            pairs = panel.view(np.uint32)
            for number in range(size // 2):
                pairs[number * PANEL + place] = _pair(own[2 * number], own[2 * number + 1])


@compiled()
def _put_values(numbers, start, stride, count, size, panel):  # type: ignore[no-untyped-def]
    """Fill a panel with `size` numbers of `count` values, and with zeros around them."""
    if count < PANEL or size < PANEL:
        panel[:] = to_element(panel, np.float32(0))
    if numbers.itemsize == 4:
        for place in range(count):
            for number in range(size):
                panel[place * PANEL + number] = numbers[start + place * stride + number]
        return
    for place in range(0, count - count % 2, 2):
        first = numbers[start + place * stride :][:size]
        second = numbers[start + (place + 1) * stride :][:size]
        pairs = panel[place * PANEL :][: 2 * PANEL].view(np.uint32)
        for number in range(size):
            pairs[number] = _pair(first[number], second[number])
    if count % 2:
        last = numbers[start + (count - 1) * stride :][:size]
        for number in range(size):
            panel[(count - 1) * PANEL + 2 * number] = last[number]


@compiled()
def _pair(first, second):  # type: ignore[no-untyped-def]
    """Two words of 16 bits as one, the first in front."""
    return np.uint32(first) | (np.uint32(second) << np.uint32(16))
