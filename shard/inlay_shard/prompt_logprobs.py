"""Log-probabilities of prompt tokens, a piece of the vocabulary's width at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inlay_shard.batch import Row
from inlay_shard.network import Network

PIECE = 128
"""Positions whose logits are in memory at once."""


def wants_logprobs(row: Row) -> bool:
    """Whether the row computes positions that predict a prompt token, and was asked about them."""
    sequence = row.sequence
    return sequence.wants_prompt_logprobs and row.start < sequence.num_prompt_tokens - 1


def prompt_logprobs(
    network: Network, rows: Sequence[Row], hidden: Tensor
) -> list[tuple[int, int, list[float]]]:
    """(sequence_id, position of the first value, values) for each row that was asked for it.

    hidden: (tokens, hidden), the last hidden states of the rows' flattened batch. Position p is
    predicted by the state of position p - 1, so a row of [start, end) gives [start + 1, end + 1),
    as far as the prompt goes.
    """
    found = []
    offset = 0
    for row in rows:
        if wants_logprobs(row):
            stop = min(row.end, row.sequence.num_prompt_tokens - 1)
            states = hidden[offset : offset + stop - row.start]
            targets = row.sequence.token_ids[row.start + 1 : stop + 1]
            values = _logprobs(network, states, targets)
            found.append((row.sequence.sequence_id, row.start + 1, values))
        offset += row.num_tokens
    return found


def _logprobs(network: Network, states: Tensor, targets: Sequence[int]) -> list[float]:
    values: list[float] = []
    for start in range(0, len(states), PIECE):
        logits = network.head(states[start : start + PIECE]).float()
        piece = torch.tensor(targets[start : start + PIECE], device=logits.device).unsqueeze(1)
        piece.clamp_(max=logits.shape[1] - 1)  # a placeholder may be wider than the vocabulary
        values += (logits.gather(1, piece).squeeze(1) - logits.logsumexp(-1)).tolist()
    return values
