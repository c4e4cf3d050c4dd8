"""What becomes of each sequence behind the token chosen for it: rank 0 decides, all ranks act."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inlay_grammars.spec import GrammarError
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.outcome import Fate
from inlay_shard.sequence import RunningSequence


@dataclass(frozen=True, slots=True)
class Judgement:
    """The tokens that a row produces, and what becomes of its sequence."""

    token_ids: tuple[int, ...]
    """One, or two when a complete grammar adds the end token; none when the row fails."""
    fate: Fate


def judge(
    sequence: RunningSequence, token_id: int, logprob: float, eos_token_ids: Sequence[int]
) -> Judgement:
    """Decide what follows from a chosen token; its matcher goes on by it.

    Raises RowFailed when no token could be chosen, or when the grammar does not allow it.
    """
    if math.isnan(logprob):
        raise RowFailed(pb.RowFailure.KIND_INTERNAL, "no next token could be chosen")
    if token_id in eos_token_ids:
        return Judgement((token_id,), Fate.ENDS_BY_EOS)
    has_room = len(sequence.output_ids) + 1 < sequence.max_new_tokens
    if _is_complete(sequence, token_id) and has_room:
        return Judgement((token_id, *eos_token_ids[:1]), Fate.ENDS_BY_EOS)
    return Judgement((token_id,), Fate.GOES_ON if has_room else Fate.ENDS_BY_LENGTH)


def _is_complete(sequence: RunningSequence, token_id: int) -> bool:
    """Whether the grammar allows nothing behind this token."""
    if sequence.matcher is None:
        return False
    try:
        sequence.matcher.consume([token_id])
    except GrammarError as error:
        raise RowFailed(pb.RowFailure.KIND_INVALID, str(error)) from error
    return sequence.matcher.is_stopped


def to_table(judgements: Sequence[Judgement]) -> Tensor:
    """Judgements as one tensor for the other ranks: int64 (rows, 4)."""
    table = torch.zeros((len(judgements), 4), dtype=torch.int64)
    for place, judgement in enumerate(judgements):
        padding = (0,) * (2 - len(judgement.token_ids))
        fields = (judgement.fate, len(judgement.token_ids), *judgement.token_ids, *padding)
        table[place] = torch.tensor(fields)
    return table


def from_table(table: Tensor) -> list[Judgement]:
    """The judgements of rank 0."""
    return [
        Judgement(tuple(token_ids[:num_tokens]), Fate(fate))
        for fate, num_tokens, *token_ids in table.tolist()
    ]
