"""The most likely of the allowed tokens, without writing a masked copy of the logits, on CPUs."""

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.compiled import as_array, compiled, to_float
from inlay_kernels.launch import launch
from inlay_kernels.sampling import reference
from inlay_kernels.scan import find, has_nan, highest

_WORD = 32


def masked_argmax(logits: Tensor, packed_mask: Tensor) -> tuple[Tensor, Tensor]:
    """What `reference.masked_argmax` does; float32 and bfloat16 are fast."""
    if logits.dtype not in (torch.float32, torch.bfloat16):
        return reference.masked_argmax(logits, packed_mask)
    token_ids = torch.empty(len(logits), dtype=torch.int64)
    is_possible = torch.empty(len(logits), dtype=torch.bool)
    rows = as_array(logits.contiguous())
    masks = packed_mask.contiguous().numpy()
    outputs = token_ids.numpy(), is_possible.numpy()
    launch(_search_rows, len(rows), rows.size, rows, masks, *outputs)
    return token_ids, is_possible


@compiled(nogil=True)
def _search_rows(first, stride, logits, masks, token_ids, is_possible):  # type: ignore[no-untyped-def]
    for row in range(first, len(logits), stride):
        token_ids[row], is_possible[row] = 0, False
        if not has_nan(logits[row]):
            token_ids[row], top = _search(logits[row], masks[row])
            is_possible[row] = top > -np.inf


@compiled()
def _search(numbers, mask):  # type: ignore[no-untyped-def]
    """Place and value of the highest number that is allowed; the first of equals.

    Whole words are taken in stretches: where most is allowed, this is one pass that vectorises.
    """
    place, top = 0, np.float32(-np.inf)
    num_words = len(numbers) // _WORD
    start = 0
    while start < num_words:
        stop = start
        while stop < num_words and mask[stop] == -1:
            stop += 1
        if stop > start:
            stretch = numbers[start * _WORD : stop * _WORD]
            best = highest(stretch)
            if best > top:
                place, top = start * _WORD + find(stretch, best), best
        elif mask[start] != 0:
            place, top = _search_word(numbers, mask[start], start * _WORD, place, top)
        start = max(stop, start + 1)
    if num_words * _WORD < len(numbers):
        place, top = _search_word(numbers, mask[num_words], num_words * _WORD, place, top)
    return place, top


@compiled()
def _search_word(numbers, bits, offset, place, top):  # type: ignore[no-untyped-def]
    for bit in range(min(_WORD, len(numbers) - offset)):
        number = to_float(numbers[offset + bit])
        if (bits >> bit) & 1 and number > top:
            place, top = offset + bit, number
    return place, top
