"""Batches cut into parts, and what modules answer to them put together again."""

import pytest
import torch
from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.states.parts import Part, StateRow, cut, joined, of_part
from inlay_shard.states.state_slots import StateSlots

CPU = torch.device("cpu")
FIRST, CHUNK = StateRow(4, 3, False), StateRow(0, 2, True)


def decode(slot: int) -> StateRow:
    return StateRow(slot, 1, True)


def listed(part: Part) -> tuple[list[int], list[int]]:
    """Places of tokens and slots."""
    every = torch.arange(20)
    return every[part.tokens].tolist(), every[part.slots].tolist()


def test_rows_of_one_token_are_a_part_and_every_other_row_is_its_own() -> None:
    parts = cut([decode(7), FIRST, decode(2), CHUNK, StateRow(5, 1, False)], CPU)
    assert parts.num_tokens == 8
    assert [listed(part) for part in parts.by_row] == [
        ([0, 4], [7, 2]),
        ([1, 2, 3], [4]),
        ([5, 6], [0]),
        ([7], [5]),
    ]
    assert [part.has_state for part in parts.by_row] == [True, False, True, False]


def test_who_goes_on_by_one_token_gets_them_one_by_one() -> None:
    parts = cut([CHUNK, FIRST], CPU).by_token
    assert [listed(part) for part in parts] == [([0], [0]), ([1], [0]), ([2, 3, 4], [4])]


def test_states_side_by_side_are_not_copied() -> None:
    (part,) = cut([decode(3), decode(4), decode(5)], CPU).by_row
    assert (part.tokens, part.slots) == (slice(0, 3), slice(3, 6))


def test_what_is_cut_is_joined_as_it_was() -> None:
    hidden = torch.randn(1, 7, 4)
    parts = cut([decode(1), CHUNK, decode(0), FIRST], CPU)
    for own in (parts.by_row, parts.by_token):
        pieces = [of_part(hidden, part, 7) for part in own]
        assert [piece.shape[:2] for piece in pieces] == [(p.num_rows, p.num_tokens) for p in own]
        assert torch.equal(joined(pieces, own, 7), hidden)


def test_arguments_that_are_not_of_tokens_stay_whole() -> None:
    part = cut([decode(1), FIRST], CPU).by_row[1]
    cosines = torch.randn(1, 4, 2)
    first, other, named = of_part((cosines, torch.ones(4), "x"), part, 4)
    assert torch.equal(first, cosines[:, 1:]) and other.shape == (4,) and named == "x"


def test_answers_beside_those_of_tokens() -> None:
    parts = cut([decode(1), FIRST], CPU).by_row
    answers: list[tuple[Tensor, object]] = [
        (torch.ones(1, 1, 2), torch.zeros(1, 9)),
        (torch.ones(1, 3, 2), torch.zeros(1, 9)),
    ]
    whole, other = joined(answers, parts, 4)
    assert whole.shape == (1, 4, 2) and other is answers[0][1]


def test_the_lowest_free_slot_is_taken_first() -> None:
    slots = StateSlots(3)
    taken = [slots.take(pb.Sequence(sequence_id=number)) for number in (1, 2, 3)]
    assert taken == [0, 1, 2]
    with pytest.raises(RowFailed, match="3 sequences at a time"):
        slots.take(pb.Sequence(sequence_id=4))
    slots.give_back(2)
    slots.give_back(2)
    assert slots.take(pb.Sequence(sequence_id=5)) == 1
    slots.clear()
    assert repr(slots) == "StateSlots(3 of 3 free)"
