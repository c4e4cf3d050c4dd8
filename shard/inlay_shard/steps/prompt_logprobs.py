"""Log-probabilities of prompt tokens, a piece of the vocabulary's width at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.model.network import Network
from inlay_shard.steps.batch import Row

PIECE = 128
"""Positions whose logits are in memory at once."""


def wants_logprobs(row: Row) -> bool:
    """Whether the row computes positions that predict a prompt token, and was asked about them."""
    sequence = row.sequence
    return sequence.wants_prompt_logprobs and row.start < sequence.num_prompt_tokens - 1


def prompt_logprobs(
    network: Network, rows: Sequence[Row], hidden: Tensor
) -> list[pb.PromptLogprobs]:
    """What is known of the prompt of each row that was asked for it.

    hidden: (tokens, hidden), the last hidden states of the rows' flattened batch. Position p is
    predicted by the state of position p - 1, so a row of [start, end) gives [start + 1, end + 1),
    as far as the prompt goes.
    """
    found = []
    offset = 0
    for row in rows:
        if wants_logprobs(row):
            found.append(_found(network, row, hidden[offset : offset + row.num_tokens]))
        offset += row.num_tokens
    return found


def _found(network: Network, row: Row, states: Tensor) -> pb.PromptLogprobs:
    """states: (tokens of the row, hidden)."""
    sequence = row.sequence
    stop = min(row.end, sequence.num_prompt_tokens - 1)
    targets = sequence.token_ids[row.start + 1 : stop + 1]
    found = pb.PromptLogprobs(sequence_id=sequence.sequence_id, start=row.start + 1)
    for start in range(0, len(targets), PIECE):
        piece = slice(start, min(start + PIECE, len(targets)))
        logits = network.head(states[piece]).float()
        _add_piece(found, logits, targets[piece], sequence.num_prompt_top_tokens)
    return found


def _add_piece(
    found: pb.PromptLogprobs, logits: Tensor, targets: Sequence[int], num_top: int
) -> None:
    """logits: (len(targets), vocab_size)."""
    normaliser = logits.logsumexp(-1, keepdim=True)
    token_ids = torch.tensor(targets, device=logits.device).unsqueeze(1)
    token_ids.clamp_(max=logits.shape[1] - 1)  # a placeholder may be wider than the vocabulary
    found.logprobs.extend((logits.gather(1, token_ids) - normaliser).flatten().tolist())
    if num_top:
        top = logits.topk(num_top)
        found.top_token_ids.extend(top.indices.flatten().tolist())
        found.top_logprobs.extend((top.values - normaliser).flatten().tolist())
