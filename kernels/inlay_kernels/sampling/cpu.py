"""Masks, distributions and draws for CPUs: compiled passes over one row after the other."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inlay_kernels.compiled import as_array, compiled, exponential
from inlay_kernels.launch import launch
from inlay_kernels.sampling import reference
from inlay_kernels.sampling.cut import cut
from inlay_kernels.sampling.likeliest import Likeliest
from inlay_kernels.sampling.warping import Warping
from inlay_kernels.scan import find, has_nan, highest, joined, num_parts, summarise


def apply_mask(logits: Tensor, packed_mask: Tensor) -> None:
    """What `reference.apply_mask` does; float32 is fast, other types take the reference."""
    if logits.dtype != torch.float32 or not logits.is_contiguous():
        reference.apply_mask(logits, packed_mask)
        return
    packed = packed_mask.contiguous().numpy()
    launch(_mask_rows, len(logits), logits.numel(), logits.numpy(), packed)


def most_likely(logits: Tensor) -> Likeliest:
    """What `reference.most_likely` does; float32 and bfloat16 are fast."""
    if logits.dtype not in (torch.float32, torch.bfloat16):
        return reference.most_likely(logits)
    token_ids = np.empty(len(logits), np.int64)
    tops = np.empty(len(logits), np.float32)
    normalisers = np.empty(len(logits), np.float32)
    rows = as_array(logits.contiguous())
    launch(_summarise_rows, len(rows), rows.size, rows, token_ids, tops, normalisers)
    tops -= normalisers  # here, as compiled sums may be reordered: a - (a + b) would be -b
    return Likeliest(*(torch.from_numpy(part) for part in (token_ids, tops, normalisers)))


def draw(logits: Tensor, warping: Warping, uniforms: Tensor) -> Tensor:
    """What `reference.draw` does, for contiguous float32 logits."""
    token_ids = torch.empty(len(logits), dtype=torch.int64)
    controls: list[NDArray[Any]] = [
        warping.temperature.numpy(),
        warping.top_k.numpy(),
        warping.top_p.numpy(),
        warping.typical_p.numpy(),
        uniforms.numpy(),
    ]
    launch(_draw_rows, len(logits), logits.numel(), logits.numpy(), *controls, token_ids.numpy())
    return token_ids


@compiled(nogil=True)
def _mask_rows(first, stride, logits, masks):  # type: ignore[no-untyped-def]
    num_rows, vocab_size = logits.shape
    for row in range(first, num_rows, stride):
        for word in range((vocab_size + 31) // 32):
            bits = masks[row, word]
            if bits == -1:
                continue
            for bit in range(min(32, vocab_size - 32 * word)):
                is_allowed = (bits >> bit) & 1 == 1
                place = 32 * word + bit
                logits[row, place] = logits[row, place] if is_allowed else np.float32(-np.inf)


@compiled(nogil=True, makes_arrays=True)
def _summarise_rows(  # type: ignore[no-untyped-def]
    first, stride, logits, token_ids, tops, normalisers
):
    part_tops = np.empty(num_parts(logits.shape[1]), np.float32)
    part_totals = np.empty_like(part_tops)
    for row in range(first, len(logits), stride):
        for part in range(len(part_tops)):
            part_tops[part], part_totals[part] = summarise(logits[row], part)
        tops[row], normalisers[row] = joined(part_tops, part_totals)
        token_ids[row] = find(logits[row], tops[row])


@compiled(nogil=True, makes_arrays=True)
def _draw_rows(  # type: ignore[no-untyped-def]
    first, stride, logits, temperature, top_k, top_p, typical_p, uniforms, token_ids
):
    vocab_size = logits.shape[1]
    weights = np.empty(vocab_size, np.float32)
    keys = np.empty(vocab_size, np.float32)
    for row in range(first, len(logits), stride):
        scores = logits[row]
        token_ids[row] = 0
        if has_nan(scores):
            continue
        if top_k[row] < vocab_size:
            weights[:] = 1
            _drop_below(scores, scores, cut(scores, weights, float(top_k[row])))
        scores /= temperature[row]
        total = _weigh(scores, weights)
        if top_p[row] < 1:
            _drop_below(scores, scores, cut(scores, weights, top_p[row] * total))
            total = _weigh(scores, weights)
        if typical_p[row] < 1:
            _rate_typicality(weights, total, keys)
            _drop_below(scores, keys, cut(keys, weights, typical_p[row] * total))
            total = _weigh(scores, weights)
        token_ids[row] = _invert(weights, uniforms[row] * total)


@compiled()
def _drop_below(scores, keys, smallest):  # type: ignore[no-untyped-def]
    for place in range(len(scores)):
        if keys[place] < smallest:
            scores[place] = -np.inf


@compiled()
def _weigh(scores, weights):  # type: ignore[no-untyped-def]
    """Fill `weights` with what is proportional to each probability; returns their sum."""
    top = highest(scores)
    for place in range(len(scores)):
        below = scores[place] - top
        weights[place] = exponential(below) if below > -87 else np.float32(0)
    total = 0.0
    for place in range(len(weights)):
        total += weights[place]
    return total


@compiled()
def _rate_typicality(weights, total, keys):  # type: ignore[no-untyped-def]
    """Fill `keys` with minus the distance of each token's surprise from the entropy."""
    entropy = 0.0
    for place in range(len(weights)):
        probability = weights[place] / total
        keys[place] = np.log(probability) if probability > 0 else -np.inf
        if probability > 0:
            entropy -= probability * keys[place]
    for place in range(len(keys)):
        keys[place] = -abs(keys[place] + entropy)


@compiled()
def _invert(weights, target):  # type: ignore[no-untyped-def]
    """The first place at which the running sum passes the target."""
    cumulative = 0.0
    last = 0
    for place in range(len(weights)):
        if weights[place] > 0:
            last = place
            cumulative += weights[place]
            if cumulative > target:
                break
    return last
