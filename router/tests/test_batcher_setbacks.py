"""What the batcher takes out of steps and brings back: pauses, preemption, resets, suspects."""

from batcher_steps import a_batcher, a_sequence, add, rows, send, settle

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence, State


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
