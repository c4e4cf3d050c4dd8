"""Masks, distributions and draws in plain torch, for any device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inlay_kernels.sampling.likeliest import Likeliest
from inlay_kernels.sampling.warping import Warping

_FIRST_CANDIDATES = 256
"""Tokens looked at before a search for the cut widens; most distributions need no more."""


def apply_mask(logits: Tensor, packed_mask: Tensor) -> None:
    """Set the logits of forbidden tokens to -inf, in place.

    logits: (rows, vocab_size), any float type. packed_mask: int32 (rows, words) with
    words >= ceil(vocab_size / 32); token t of a row is allowed when bit t % 32 of word t // 32
    is set.
    """
    shifts = torch.arange(32, dtype=torch.int32, device=logits.device)
    is_forbidden = ((packed_mask.unsqueeze(-1) >> shifts) & 1) == 0
    logits.masked_fill_(is_forbidden.flatten(1)[:, : logits.shape[1]], float("-inf"))


def keep_allowed(
    likeliest: Likeliest, logits: Tensor, packed_mask: Tensor, places: Sequence[int]
) -> None:
    """Put the most likely allowed tokens of some rows in the place of their most likely ones.

    likeliest: of all rows of `logits`; tokens and log-probabilities at `places` become those of
    the allowed tokens, the lower one among equals; where none is allowed, or the row holds NaN, the
    token is arbitrary and its log-probability NaN. logits: (rows, vocab_size), any float type; not
    changed. packed_mask: of the rows at `places`, as for `apply_mask`.
    """
    own = torch.tensor(places, device=logits.device)
    masked = logits[own].float()
    has_nan = masked.isnan().any(-1)
    apply_mask(masked, packed_mask)
    token_ids = masked.argmax(-1)
    tops = masked.gather(1, token_ids.unsqueeze(1)).squeeze(1)
    is_possible = (tops > float("-inf")) & ~has_nan
    logprobs = (tops - likeliest.normalisers[own]).masked_fill_(~is_possible, float("nan"))
    likeliest.token_ids[own], likeliest.logprobs[own] = token_ids, logprobs


def most_likely(logits: Tensor) -> Likeliest:
    """The most likely token of each row: (rows, vocab_size), any float type."""
    widened = logits.float()
    token_ids, normalisers = widened.argmax(-1), widened.logsumexp(-1)
    highest = widened.gather(1, token_ids.unsqueeze(1)).squeeze(1)
    return Likeliest(token_ids, highest - normalisers, normalisers)


def draw(logits: Tensor, warping: Warping, uniforms: Tensor) -> Tensor:
    """Draw one token for each row: int64 (rows,).

    logits: float32 (rows, vocab_size), consumed (its content is undefined afterwards). uniforms:
    float64 (rows,) in [0, 1). Applies temperature, top_k, top_p and typical_p in this order, each
    to what the one before left; tokens equally likely as the last one kept are kept too, so the
    outcome does not hang on how a sort breaks ties. The token is the inverse of the cumulative
    distribution, in float64 and in the order of the vocabulary. A row depends on nothing in its
    neighbours. A row whose logits are all -inf, or hold NaN, draws an arbitrary token.
    """
    logits /= warping.temperature.to(logits.device).unsqueeze(1)
    _keep_top_k(logits, warping.top_k)
    _keep_top_p(logits, warping.top_p)
    _keep_typical(logits, warping.typical_p)
    return _invert(logits, uniforms.to(logits.device))


def _keep_top_k(logits: Tensor, top_k: Tensor) -> None:
    for row, k in _active(top_k, logits.shape[1]):
        smallest = logits[row].topk(int(k), sorted=False).values.min()
        logits[row].masked_fill_(logits[row] < smallest, float("-inf"))


def _keep_top_p(logits: Tensor, top_p: Tensor) -> None:
    for row, p in _active(top_p, 1.0):
        probabilities = logits[row].softmax(-1)
        smallest = _cut(probabilities, probabilities, p)
        logits[row].masked_fill_(probabilities < smallest, float("-inf"))


def _keep_typical(logits: Tensor, typical_p: Tensor) -> None:
    """Locally typical sampling (Meister et al., 2022): surprise closest to the entropy first."""
    for row, p in _active(typical_p, 1.0):
        log_probabilities = logits[row].log_softmax(-1)
        probabilities = log_probabilities.exp()
        entropy = -(log_probabilities * probabilities).nansum()
        typicality = -(log_probabilities + entropy).abs()
        smallest = _cut(typicality, probabilities, p)
        logits[row].masked_fill_(typicality < smallest, float("-inf"))


def _active(values: Tensor, neutral: float) -> list[tuple[int, float]]:
    """Rows whose control is on, with its value."""
    return [(row, value) for row, value in enumerate(values.tolist()) if value < neutral]


def _cut(keys: Tensor, probabilities: Tensor, mass: float) -> Tensor:
    """Smallest key of the smallest set of highest keys whose probability reaches `mass`.

    keys, probabilities: (vocab_size,). Widens a partial sort until the mass is found, as a full
    sort of a large vocabulary costs more than the rest of a draw.
    """
    num_candidates = min(_FIRST_CANDIDATES, len(keys))
    while True:
        top = keys.topk(num_candidates)
        cumulative = probabilities[top.indices].double().cumsum(-1)
        if num_candidates == len(keys) or cumulative[-1] >= mass:
            place = int((cumulative < mass).sum())
            return top.values[min(place, num_candidates - 1)]
        num_candidates = min(16 * num_candidates, len(keys))


def _invert(logits: Tensor, uniforms: Tensor) -> Tensor:
    """The first token at which the cumulative distribution passes each uniform number."""
    cumulative = logits.softmax(-1, dtype=torch.float64).cumsum(-1)
    total = cumulative[:, -1:]
    below_total = torch.nextafter(total, torch.zeros_like(total))
    target = torch.minimum(uniforms.unsqueeze(1) * total, below_total)
    token_ids = torch.searchsorted(cumulative, target, right=True).squeeze(1)
    return token_ids.clamp_(max=logits.shape[1] - 1)
