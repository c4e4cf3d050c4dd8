"""What follows from a chosen token, and how the other ranks are told."""

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.steps.judgement import Judgement, from_table, judge, to_table
from inlay_shard.steps.outcome import Fate
from inlay_shard.steps.sequence import RunningSequence

EOS = (1, 2)


def sequence(num_outputs: int) -> RunningSequence:
    """With room for three tokens, of which some are there."""
    message = pb.Sequence(
        sequence_id=1,
        token_ids=[10, 11, *range(20, 20 + num_outputs)],
        num_prompt_tokens=2,
        max_new_tokens=3,
    )
    return RunningSequence.from_message(message, None, None)


@pytest.mark.parametrize(
    ("num_outputs", "token_id", "fate"),
    [
        (0, 30, Fate.GOES_ON),
        (1, 30, Fate.GOES_ON),
        (2, 30, Fate.ENDS_BY_LENGTH),
        (0, 2, Fate.ENDS_BY_EOS),
        (2, 1, Fate.ENDS_BY_EOS),
    ],
)
def test_fates(num_outputs: int, token_id: int, fate: Fate) -> None:
    assert judge(sequence(num_outputs), token_id, -1.0, EOS) == Judgement((token_id,), fate)


def test_no_token_fails_the_row() -> None:
    with pytest.raises(RowFailed, match="no next token could be chosen"):
        judge(sequence(0), 30, float("nan"), EOS)


def test_other_ranks_read_what_rank_0_wrote() -> None:
    judgements = [
        Judgement((30,), Fate.GOES_ON),
        Judgement((31, 1), Fate.ENDS_BY_EOS),
        Judgement((), Fate.FAILS),
        Judgement((30,), Fate.GOES_ON, forced_ids=(32, 33, 34)),
    ]
    table = to_table(judgements, 3)
    assert table.shape == (4, 8)
    assert from_table(table) == judgements
