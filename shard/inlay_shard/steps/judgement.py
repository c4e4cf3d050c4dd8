"""What becomes of each sequence behind the token chosen for it: rank 0 decides, all ranks act."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inlay_grammars.spec import GrammarError
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.steps.outcome import Fate
from inlay_shard.steps.sequence import RunningSequence


@dataclass(frozen=True, slots=True)
class Judgement:
    """The tokens that a row produces, and what becomes of its sequence."""

    token_ids: tuple[int, ...]
    """One, or two when a complete grammar adds the end token; none when the row fails."""
    fate: Fate
    is_changed: bool = False
    """Whether the first token is another than was chosen, so that the answer ends in time; the
    other ranks are not told."""
    forced_ids: tuple[int, ...] = ()
    """Tokens that follow for certain: the next row computes them with its own."""


def judge(
    sequence: RunningSequence, token_id: int, logprob: float, eos_token_ids: Sequence[int]
) -> Judgement:
    """Decide what follows from a chosen token; its matcher goes on by it, or by what its guard
    takes instead.

    Raises RowFailed when no token could be chosen, or when the grammar does not allow it.
    """
    if math.isnan(logprob):
        raise RowFailed(pb.RowFailure.KIND_INTERNAL, "no next token could be chosen")
    if token_id in eos_token_ids:
        return Judgement((token_id,), Fate.ENDS_BY_EOS)
    taken_id = take(sequence, token_id, sequence.num_left)
    is_changed = taken_id != token_id
    sequence.has_shortened |= is_changed
    if taken_id is None:
        return Judgement((eos_token_ids[0],), Fate.ENDS_BY_EOS, is_changed)
    has_room = sequence.num_left > 1
    if _is_complete(sequence, has_room):
        end_ids = eos_token_ids[:1] if has_room else ()
        return Judgement((taken_id, *end_ids), Fate.ENDS_BY_EOS, is_changed)
    return Judgement((taken_id,), Fate.GOES_ON if has_room else Fate.ENDS_BY_LENGTH, is_changed)


def take(sequence: RunningSequence, token_id: int, num_left: int) -> int | None:
    """The token that the matcher goes on by; None if the answer must end in front of it.

    num_left: tokens that the budget has room for, this one included. Raises RowFailed when the
    grammar does not allow the token.
    """
    matcher, guard = sequence.matcher, sequence.guard
    if matcher is None:
        return token_id
    taken_id: int | None = token_id
    try:
        if guard is None:
            matcher.consume([token_id])
        else:
            taken_id = guard.take(matcher, token_id, num_left)
    except GrammarError as error:
        raise RowFailed(pb.RowFailure.KIND_INVALID, str(error)) from error
    if taken_id is not None:
        sequence.forced.follow(taken_id)
    return taken_id


def _is_complete(sequence: RunningSequence, has_room: bool) -> bool:
    """Whether the answer ends here by itself: nothing may follow, or it was led to this end."""
    if sequence.matcher is None:
        return False
    if sequence.matcher.is_stopped:
        return True
    return not has_room and sequence.has_shortened and sequence.matcher.is_accepting


def to_table(judgements: Sequence[Judgement], max_forced: int) -> Tensor:
    """Judgements as one tensor for the other ranks: int64 (rows, 5 + max_forced).

    max_forced: the most forced tokens that a row may have, which every rank knows.
    """
    table = torch.zeros((len(judgements), 5 + max_forced), dtype=torch.int64)
    for place, judgement in enumerate(judgements):
        token_ids = (*judgement.token_ids, *judgement.forced_ids)
        fields = (judgement.fate, len(judgement.token_ids), len(judgement.forced_ids), *token_ids)
        table[place, : len(fields)] = torch.tensor(fields)
    return table


def from_table(table: Tensor) -> list[Judgement]:
    """The judgements of rank 0."""
    return [
        Judgement(
            tuple(token_ids[:num_tokens]),
            Fate(fate),
            forced_ids=tuple(token_ids[num_tokens : num_tokens + num_forced]),
        )
        for fate, num_tokens, num_forced, *token_ids in table.tolist()
    ]
