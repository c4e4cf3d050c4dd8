"""Decode rows laid out where they stand are laid out as if anew."""

import random
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from inlay_kernels import AttentionBatch
from inlay_proto import generate_pb2 as pb
from inlay_shard.images.features import EmbeddedImage, Features, Placement
from inlay_shard.steps import layout
from inlay_shard.steps.batch import FlatBatch, Row, flatten
from inlay_shard.steps.layout import Layouts
from inlay_shard.steps.sequence import RunningSequence

BLOCK_SIZE = 4
CPU = torch.device("cpu")


def make_sequence(num_tokens: int, features: Features | None = None) -> RunningSequence:
    """With blocks for 60 tokens."""
    message = pb.Sequence(
        sequence_id=1, token_ids=range(num_tokens), num_prompt_tokens=num_tokens, max_new_tokens=99
    )
    sequence = RunningSequence.from_message(message, features, None)
    sequence.blocks.append(random.Random(num_tokens).sample(range(100), 15))
    return sequence


def next_row(sequence: RunningSequence) -> Row:
    """The row that computes all that is known, which then is; another token is known behind it."""
    row = Row(sequence, sequence.num_computed, len(sequence.token_ids))
    sequence.num_computed = row.end
    return row


def check(layouts: Layouts, rows: list[Row], num_axes: int = 1) -> FlatBatch:
    """Lay rows out, as `flatten` does; then each sequence chooses a token."""
    found = layouts.of(rows)
    expected = flatten(rows, block_size=BLOCK_SIZE, num_axes=num_axes)
    num_blocks = expected.attention.block_tables.shape[1]
    for owner, other in ((found, expected), (found.attention, expected.attention)):
        for field in fields(owner):
            ours, theirs = getattr(owner, field.name), getattr(other, field.name)
            if field.name == "block_tables":
                assert_same_blocks(ours[:, :num_blocks], rows)
            elif isinstance(theirs, torch.Tensor):
                assert torch.equal(ours, theirs), field.name
            elif not isinstance(theirs, AttentionBatch):
                assert ours is None
    for row in rows:
        row.sequence.append(row.end % 7)
    return found


def assert_same_blocks(tables: torch.Tensor, rows: list[Row]) -> None:
    """Behind the context of a row nothing is read."""
    for table, row in zip(tables.tolist(), rows, strict=True):
        num_blocks = -(-row.end // BLOCK_SIZE)
        assert table[:num_blocks] == row.sequence.blocks.block_ids[:num_blocks].tolist()


@pytest.mark.parametrize("lengths", [[5], [4], [1, 8, 3, 30]])
def test_rows_that_go_on_through_blocks(lengths: list[int]) -> None:
    layouts = Layouts(block_size=BLOCK_SIZE, num_axes=1, device=CPU)
    sequences = [make_sequence(length) for length in lengths]
    batches = [check(layouts, [next_row(one) for one in sequences]) for _ in range(20)]
    num_kept = sum(batch is before for before, batch in zip(batches, batches[1:], strict=False))
    assert num_kept > 10


def test_rows_that_come_go_and_change_places() -> None:
    layouts = Layouts(block_size=BLOCK_SIZE, num_axes=1, device=CPU)
    first, second, third = (make_sequence(length) for length in (3, 9, 6))
    for sequences in ([first, second], [first, second], [second, first], [second], [third, first]):
        check(layouts, [next_row(one) for one in sequences])


def test_a_row_that_runs_again_after_a_failure_is_laid_out_anew() -> None:
    layouts = Layouts(block_size=BLOCK_SIZE, num_axes=1, device=CPU)
    rows = [next_row(make_sequence(length)) for length in (3, 9)]
    rows = [Row(row.sequence, row.end - 1, row.end) for row in rows]
    layouts.of(rows)
    check(layouts, rows)


def test_forced_tokens_and_chunks_in_between() -> None:
    layouts = Layouts(block_size=BLOCK_SIZE, num_axes=1, device=CPU)
    first, second = make_sequence(3), make_sequence(5)
    for num_forced in (0, 0, 2, 0, 0, 1, 0):
        for token_id in range(num_forced):
            first.append(token_id)
        first.num_forced = num_forced
        check(layouts, [next_row(first), next_row(second)])


@pytest.mark.parametrize("num_rows", [1, 4])
def test_rows_of_which_some_have_forced_tokens_keep_their_tables(
    num_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first decode step on, into new blocks and across whole ones."""
    numbers, num_flattened = random.Random(num_rows), 0

    def counted(*arguments: Any, **named: Any) -> FlatBatch:
        nonlocal num_flattened
        num_flattened += 1
        return flatten(*arguments, **named)

    monkeypatch.setattr(layout, "flatten", counted)
    layouts = Layouts(block_size=BLOCK_SIZE, num_axes=2, device=CPU)
    sequences = [make_sequence(numbers.randrange(2, 9)) for _ in range(num_rows)]
    check(layouts, [next_row(one) for one in sequences], num_axes=2)
    for _ in range(5):
        for one in sequences:
            one.num_forced = numbers.choice([0, 0, 1, 3, 5])
            for token_id in range(one.num_forced):
                one.append(token_id)
        check(layouts, [next_row(one) for one in sequences], num_axes=2)
    assert num_flattened == 2


def test_positions_go_on_behind_a_prompt_with_images() -> None:
    layouts = Layouts(block_size=BLOCK_SIZE, num_axes=3, device=CPU)
    image = EmbeddedImage(embeddings=torch.tensor([[1.0], [2.0]]))
    positions = np.array([[0, 1, 1, 5]] * 3, np.int64)
    placement = Placement(places=np.array([1, 2], np.int64), prompt_positions=positions)
    seen = make_sequence(4, Features([image], placement))
    alone = make_sequence(7)
    for step in range(9):
        batch = check(layouts, [next_row(seen), next_row(alone)], num_axes=3)
        if step:
            assert batch.position_ids[:, 0].tolist() == [5 + step] * 3
