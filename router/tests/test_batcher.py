"""What the batcher puts into steps, case by case."""

import pytest
from batcher_steps import a_batcher, a_sequence, add, result, rows, send, settle

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.sequence import State
from inlay_router.errors import Overloaded


def test_a_sequence_joins_with_its_prompt_and_the_blocks_for_it() -> None:
    batcher = a_batcher()
    add(batcher, a_sequence(num_prompt_tokens=9))
    step = send(batcher)
    assert step.step_id == 1
    assert [list(joining.token_ids) for joining in step.joining] == [list(range(9))]
    assert [list(growth.block_ids) for growth in step.growths] == [[0, 1, 2]]
    assert rows(step) == {1: 9}


def test_nothing_to_do_is_no_step() -> None:
    assert a_batcher().next_step() is None


def test_a_row_is_scheduled_again_before_its_result_is_back() -> None:
    batcher = a_batcher()
    add(batcher, a_sequence())
    assert rows(send(batcher)) == {1: 3}
    assert not send(batcher).HasField("rows"), "the same row with the token under way"
    assert batcher.next_step() is None, "two steps are in flight"


def test_an_unchanged_decode_batch_does_not_name_its_rows() -> None:
    batcher = a_batcher()
    add(batcher, *(a_sequence() for _ in range(50)))
    first = send(batcher)
    assert len(rows(first)) == 50
    settle(batcher, first, *rows(first))
    second = send(batcher)
    assert second.SerializeToString() == pb.Step(step_id=2).SerializeToString()


def test_long_prompts_are_cut_into_chunks_and_decode_comes_first() -> None:
    batcher = a_batcher(max_batch_prefill_tokens=8)
    first = a_sequence(num_prompt_tokens=2)
    add(batcher, first)
    step = send(batcher)
    add(batcher, a_sequence(num_prompt_tokens=14), a_sequence(num_prompt_tokens=4))
    settle(batcher, step, 1)
    step = send(batcher)
    assert list(rows(step).items()) == [(1, 1), (2, 8)]
    settle(batcher, step, 1)
    assert list(rows(send(batcher)).items()) == [(1, 1), (2, 6), (3, 2)]


def test_a_step_has_no_row_for_tokens_behind_the_last() -> None:
    batcher = a_batcher()
    add(batcher, a_sequence(max_new_tokens=2))
    steps = [send(batcher), send(batcher)]
    settle(batcher, steps[0], 1)
    assert batcher.next_step() is None, "the second and last token is in flight"
    settle(batcher, steps[1], 1, ended=(1,))
    assert batcher.next_step() is None
    assert batcher.pool.num_used == 0


def test_an_ended_sequence_may_stand_in_a_step_in_flight() -> None:
    batcher = a_batcher()
    ending, going_on = a_sequence(), a_sequence()
    add(batcher, ending, going_on)
    steps = [send(batcher), send(batcher)]
    deliveries = settle(batcher, steps[0], 1, 2, ended=(1,))
    assert [delivery.ending for delivery in deliveries] == [pb.END_REASON_EOS_TOKEN, None]
    assert (ending.state, ending.block_ids) == (State.OUTSIDE, [])
    step = send(batcher)
    assert (list(step.leaving_ids), rows(step)) == ([1], {2: 1})
    settle(batcher, steps[1], 2)
    assert going_on.num_answer_tokens == 2
    assert ending.num_answer_tokens == 1


def test_blocks_that_steps_in_flight_still_use_go_to_the_next_step_only() -> None:
    """The shards run steps in order, so the old owner's last write comes before the new owner."""
    batcher = a_batcher(num_blocks=2)
    leaving, next_owner = a_sequence(num_prompt_tokens=8, max_new_tokens=1), a_sequence(5, 1)
    add(batcher, leaving, next_owner)
    in_flight = send(batcher)
    assert rows(in_flight) == {1: 8}
    batcher.cancel(leaving)
    assert batcher.pool.num_free == 2
    step = send(batcher)
    assert step.step_id == in_flight.step_id + 1
    assert list(step.leaving_ids) == [1]
    assert set(step.growths[0].block_ids) == set(in_flight.growths[0].block_ids)
    assert settle(batcher, in_flight, 1) == [], (
        "what the shard chose for a gone sequence is ignored"
    )


def test_the_queue_is_not_overtaken() -> None:
    batcher = a_batcher(num_blocks=4)
    running, large, small = a_sequence(3, 5), a_sequence(16, 1), a_sequence(1, 1)
    add(batcher, running)
    step = send(batcher)
    add(batcher, large, small)
    settle(batcher, step, 1)
    send(batcher)
    assert (len(batcher.running), batcher.num_waiting) == (1, 2)


def test_admission_leaves_each_running_sequence_a_block_to_grow() -> None:
    batcher = a_batcher(num_blocks=3)
    add(batcher, a_sequence(4, 5), a_sequence(4, 5))
    assert rows(send(batcher)) == {1: 4, 2: 4}
    batcher = a_batcher(num_blocks=2)
    add(batcher, a_sequence(4, 5), a_sequence(4, 5))
    assert rows(send(batcher)) == {1: 4}


def test_a_batch_has_at_most_so_many_sequences() -> None:
    batcher = a_batcher(max_batch_size=2)
    add(batcher, a_sequence(), a_sequence(), a_sequence())
    assert rows(send(batcher)) == {1: 3, 2: 3}


def test_a_full_queue_refuses() -> None:
    batcher = a_batcher(max_waiting=1)
    add(batcher, a_sequence())
    with pytest.raises(Overloaded):
        batcher.add(a_sequence())


def test_tokens_of_a_row_that_failed_on_any_rank_are_not_taken() -> None:
    batcher = a_batcher()
    sequence = a_sequence()
    add(batcher, sequence)
    answer = result(send(batcher), 1)
    answer.failures.add(sequence_id=1, kind=pb.RowFailure.KIND_INTERNAL, message="nan")
    (delivery,) = batcher.settle(answer)
    assert delivery.failure is not None and not delivery.token_ids
    assert sequence.num_answer_tokens == 0
    assert batcher.pool.num_used == 0


def test_a_shard_that_skips_a_row_without_a_word_is_noticed() -> None:
    batcher = a_batcher(max_steps_in_flight=1)
    add(batcher, a_sequence())
    settle(batcher, send(batcher))
    with pytest.raises(AssertionError, match=r"a row brought nothing: Sequence\(running 1"):
        batcher.next_step()


def test_results_out_of_order_are_noticed() -> None:
    batcher = a_batcher()
    add(batcher, a_sequence())
    send(batcher)
    with pytest.raises(AssertionError, match="result 2"):
        batcher.settle(pb.StepResult(step_id=2))


def test_a_repr_tells_where_everything_stands() -> None:
    batcher = a_batcher(max_batch_size=1)
    add(batcher, a_sequence(), a_sequence())
    send(batcher)
    assert repr(batcher) == (
        "Batcher(BlockPool(99 of 100 blocks of 4 free, 0 of them idle),"
        " running [Sequence(running 1, blocks [0],"
        " 3 prompt tokens, 0 of 20 answer tokens, 3 scheduled, 0 computed)], following [], waiting"
        " [Sequence(waiting 0, blocks [], 3 prompt tokens, 0 of 20 answer tokens, 0 scheduled,"
        " 0 computed)], StepStream(last 1, in flight [1]))"
    )
