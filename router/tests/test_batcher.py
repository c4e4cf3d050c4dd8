"""What the batcher puts into steps, case by case."""

from typing import Any

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.delivery import Delivery
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence, State
from inlay_router.errors import Overloaded
from inlay_router.request import GenerationRequest, Prompt


def a_batcher(*, num_blocks: int = 100, block_size: int = 4, **limits: Any) -> Batcher:
    pool = BlockPool(num_blocks=num_blocks, block_size=block_size)
    return Batcher(BatchLimits(**limits), Replica(pool=pool))


def a_sequence(num_prompt_tokens: int = 3, max_new_tokens: int = 20) -> Sequence:
    prompt = Prompt(token_ids=tuple(range(num_prompt_tokens)))
    return Sequence.of(GenerationRequest(prompt=prompt, max_new_tokens=max_new_tokens))


def add(batcher: Batcher, *sequences: Sequence) -> None:
    for sequence in sequences:
        batcher.add(sequence)


def send(batcher: Batcher) -> pb.Step:
    step = batcher.next_step()
    assert step is not None, repr(batcher)
    return step


def rows(step: pb.Step) -> dict[int, int]:
    return dict(zip(step.rows.sequence_ids, step.rows.num_tokens, strict=True))


def result(step: pb.Step, *sequence_ids: int, ended: tuple[int, ...] = ()) -> pb.StepResult:
    """One token, 9, for each of these rows."""
    return pb.StepResult(
        step_id=step.step_id,
        sequence_ids=sequence_ids,
        num_tokens=[1] * len(sequence_ids),
        token_ids=[9] * len(sequence_ids),
        logprobs=[-0.5] * len(sequence_ids),
        endings=[pb.Ending(sequence_id=i, reason=pb.END_REASON_EOS_TOKEN) for i in ended],
    )


def settle(
    batcher: Batcher, step: pb.Step, *sequence_ids: int, ended: tuple[int, ...] = ()
) -> list[Delivery]:
    return batcher.settle(result(step, *sequence_ids, ended=ended))


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


def one_that_needs_all_four_blocks() -> tuple[Batcher, Sequence, Sequence, list[pb.Step]]:
    """The older has three blocks and is about to need the fourth, which the younger has."""
    batcher = a_batcher(num_blocks=4, max_steps_in_flight=1)
    older, younger = a_sequence(7, 9), a_sequence(3, 5)
    add(batcher, older, younger)
    steps = [send(batcher)]
    settle(batcher, steps[-1], 1, 2)
    steps.append(send(batcher))
    settle(batcher, steps[-1], 1, 2)
    for _ in range(4):
        steps.append(send(batcher))
        settle(batcher, steps[-1], 1)
    return batcher, older, younger, steps


def test_the_youngest_pauses_when_no_block_is_left() -> None:
    batcher, older, younger, steps = one_that_needs_all_four_blocks()
    assert [rows(step) for step in steps] == [{1: 7, 2: 3}, {}, {1: 1}, {}, {}, {}]
    assert (len(older.block_ids), len(younger.block_ids)) == (3, 1)
    assert batcher.counters.num_preemptions == 0


def test_the_youngest_gives_its_blocks_to_an_older_one() -> None:
    batcher, older, younger, _ = one_that_needs_all_four_blocks()
    step = send(batcher)
    assert batcher.counters.num_preemptions == 1
    assert younger.state is State.WAITING
    assert list(step.leaving_ids) == [2]
    assert [growth.sequence_id for growth in step.growths] == [1]
    assert (len(older.block_ids), batcher.pool.num_free) == (4, 0)


def test_a_preempted_sequence_comes_back_with_its_tokens_and_a_new_id() -> None:
    batcher, older, younger, _ = one_that_needs_all_four_blocks()
    settle(batcher, send(batcher), 1)
    batcher.cancel(older)
    (joining,) = send(batcher).joining
    assert joining.sequence_id == 3
    assert list(joining.token_ids) == [0, 1, 2, 9, 9]
    assert joining.num_prompt_tokens == 3
    assert joining.max_new_tokens == 5
    assert younger.num_answer_tokens == 2


def test_one_that_waits_for_its_last_result_does_not_give_way() -> None:
    batcher = a_batcher(num_blocks=3, block_size=2, max_steps_in_flight=9)
    grower, finisher = a_sequence(2, 5), a_sequence(1, 1)
    add(batcher, grower, finisher)
    steps = [send(batcher) for _ in range(3)]
    assert len(grower.block_ids) == 2
    assert batcher.next_step() is None, "the grower pauses"
    settle(batcher, steps[0], 1, 2, ended=(2,))
    send(batcher)
    assert len(grower.block_ids) == 3
    assert batcher.counters.num_preemptions == 0


def test_a_reset_brings_everyone_back_in_order_with_their_tokens() -> None:
    batcher = a_batcher(max_batch_size=2)
    sequences = [a_sequence(), a_sequence(), a_sequence()]
    add(batcher, *sequences)
    settle(batcher, send(batcher), 1, 2)
    send(batcher)
    assert batcher.reset(Replica(pool=BlockPool(num_blocks=100, block_size=4))) == []
    step = send(batcher)
    assert step.step_id == 1
    assert [list(joining.token_ids) for joining in step.joining] == [[0, 1, 2, 9]] * 2
    assert [sequence.sequence_id for sequence in sequences] == [3, 4, 0]
    assert rows(step) == {3: 4, 4: 4}


def test_a_reset_to_a_smaller_pool_fails_only_what_cannot_fit() -> None:
    batcher = a_batcher()
    large, small = a_sequence(30), a_sequence(3, 2)
    add(batcher, large, small)
    send(batcher)
    (failure,) = batcher.reset(Replica(pool=BlockPool(num_blocks=2, block_size=4)))
    assert failure.sequence is large
    assert failure.failure is not None and "smaller" in failure.failure.message
    assert rows(send(batcher)) == {3: 3}


def a_suspect() -> Sequence:
    """It reached the end of its prompt twice, and each time the replica died of the next token."""
    sequence = a_sequence(8, 5)
    sequence.num_deaths, sequence.num_reached = 2, 8
    return sequence


def test_a_suspect_waits_for_the_others_steps_and_then_runs_alone() -> None:
    batcher = a_batcher()
    add(batcher, a_sequence())
    in_flight = send(batcher)
    batcher.resume(a_suspect())
    assert batcher.next_step() is None
    settle(batcher, in_flight, 1)
    assert rows(send(batcher)) == {2: 8}


def test_a_suspect_that_gets_further_is_one_of_the_others_again() -> None:
    batcher = a_batcher(max_steps_in_flight=1)
    add(batcher, a_sequence())
    settle(batcher, send(batcher), 1)
    batcher.resume(a_suspect())
    settle(batcher, send(batcher), 2)
    lonely = send(batcher)
    assert rows(lonely) == {}, "again only the suspect, now with its next token"
    settle(batcher, lonely, 2)
    assert rows(send(batcher)) == {2: 1, 1: 1}


def test_a_suspect_grows_at_the_cost_of_those_who_pause() -> None:
    batcher = a_batcher(num_blocks=4, max_steps_in_flight=1)
    pausing = a_sequence(7, 5)
    add(batcher, pausing)
    settle(batcher, send(batcher), 1)
    batcher.resume(suspect := a_suspect())
    settle(batcher, send(batcher), 2)
    assert batcher.pool.num_free == 0
    send(batcher)
    assert pausing.state is State.WAITING
    assert len(suspect.block_ids) == 3


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
