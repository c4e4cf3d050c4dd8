"""The most likely of the allowed tokens, without writing a masked copy of the logits, on CPUs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from inlay_kernels.compiled import as_array, compiled, to_float
from inlay_kernels.launch import launch
from inlay_kernels.sampling import reference
from inlay_kernels.sampling.likeliest import Likeliest
from inlay_kernels.scan import find, highest

_WORD = 32


def keep_allowed(
    likeliest: Likeliest, logits: Tensor, packed_mask: Tensor, places: Sequence[int]
) -> None:
    """What `reference.keep_allowed` does; float32 and bfloat16 are fast."""
    if logits.dtype not in (torch.float32, torch.bfloat16):
        reference.keep_allowed(likeliest, logits, packed_mask, places)
        return
    rows = as_array(logits.contiguous())
    masks = packed_mask.contiguous().numpy()
    found = (part.numpy() for part in likeliest)
    work = len(places) * logits.shape[1]
    launch(_search_rows, len(places), work, rows, masks, np.array(places), *found)


@compiled(nogil=True)
def _search_rows(  # type: ignore[no-untyped-def]
    first, stride, logits, masks, places, token_ids, logprobs, normalisers
):
    for number in range(first, len(places), stride):
        row, mask = places[number], masks[number]
        if _allows(mask, token_ids[row]) or normalisers[row] != normalisers[row]:
            continue
        token_ids[row], top = _search(logits[row], mask)
        logprobs[row] = top - normalisers[row] if top > -np.inf else np.float32(np.nan)


@compiled()
def _allows(mask, token_id):  # type: ignore[no-untyped-def]
    return (mask[token_id // _WORD] >> (token_id % _WORD)) & 1 == 1


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
