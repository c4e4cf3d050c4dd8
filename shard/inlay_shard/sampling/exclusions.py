"""Tokens that are left out of a choice: those that come too early, bad ones, unlikely ones."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from inlay_shard.sampling.controls import SamplingRow


def forbid(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    """Set the logits of tokens that may not come next to -inf, in place.

    logits: (rows, vocab_size), floating point.
    """
    for row_logits, row in zip(logits, rows, strict=True):
        if row.sampling.allowed_token_ids:
            _leave_only(row_logits, list(row.sampling.allowed_token_ids))
        token_ids = list(forbidden_ids(row))
        row_logits[token_ids] = float("-inf")


def _leave_only(logits: Tensor, token_ids: list[int]) -> None:
    """logits: (vocab_size,)."""
    kept = logits[token_ids]
    logits.fill_(float("-inf"))
    logits[token_ids] = kept


def forbidden_ids(row: SamplingRow) -> Iterator[int]:
    """Tokens that may not come next: end tokens while the answer is too short, and the last tokens
    of bad runs whose others are the last ones of the answer."""
    answer = row.output_ids
    if len(answer) < row.sampling.min_tokens:
        yield from row.sampling.late_token_ids
    for run in row.sampling.bad_runs:
        *others, last_id = run.token_ids
        if others == list(answer[len(answer) - len(others) :]):
            yield last_id


def leave_out_unlikely(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    """Set tokens to -inf, in place, that are less likely than a share of the likeliest (min_p).

    logits: (rows, vocab_size), before the temperature.
    """
    margins = [row.value("temperature", 1.0) * math.log(row.value("min_p", 1.0)) for row in rows]
    lowest = logits.amax(-1) + torch.tensor(margins).to(logits)
    logits.masked_fill_(logits < lowest.unsqueeze(1), float("-inf"))
