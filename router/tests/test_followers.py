"""Equal beginnings of prompts that come together are computed once, and nobody waits in vain."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import Engine, next_token

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.followers import num_tokens_worth_waiting
from inlay_router.batching.pace import Pace, Unpaced
from inlay_router.batching.sequence import Sequence, State
from inlay_router.links.scripted_shard import RowFault

PROMPT = list(range(11))
CAT, DOG = b"cat", b"dog"


def an_engine(**limits: Any) -> Engine:
    """In which any block is worth waiting for."""
    return Engine(**{"min_awaited_tokens": 1, **limits})


def ask_together(engine: Engine, *prompts: list[int], **others: int) -> list[Sequence]:
    return [engine.add(engine.prompt(token_ids), **others) for token_ids in prompts]


def test_equal_prompts_are_computed_once() -> None:
    engine = an_engine()
    first, *others = ask_together(engine, *[PROMPT] * 8)
    engine.run()
    assert (first.num_cached_tokens, {other.num_cached_tokens for other in others}) == (0, {8})
    assert all(other.token_ids == first.token_ids for other in others)
    assert engine.shard.num_computed_tokens == 8 + 8 * (3 + 3)


def test_followers_wait_for_the_last_block_that_they_share() -> None:
    engine = an_engine(max_batch_prefill_tokens=4)
    ask_together(engine, list(range(17)), [*range(12), 77, 78], [*range(4), 88, 89])
    engine.send()
    assert (engine.batcher.num_following, engine.batcher.num_waiting) == (0, 2)
    engine.settle()
    engine.run()
    cached = [sequence.num_cached_tokens for sequence in engine.all]
    assert cached == [0, 12, 4]


def test_what_others_ask_meanwhile_is_not_held_up() -> None:
    engine = an_engine()
    ask_together(engine, PROMPT, PROMPT, [50, 51, 52])
    engine.send()
    assert engine.rows_sent == [{1: 11, 3: 3}, {1: 1, 3: 1}]


def test_a_follower_keeps_its_place_before_those_who_came_later() -> None:
    engine = an_engine(max_batch_prefill_tokens=16, max_steps_in_flight=1)
    ask_together(engine, PROMPT, PROMPT, list(range(50, 90)))
    engine.send()
    engine.settle()
    engine.send()
    assert [dict(list(rows.items())) for rows in engine.rows_sent][0] == {1: 11, 3: 5}
    assert list(engine.rows_sent[1]) == [1, 2, 3]


def test_later_ones_leave_a_follower_the_room_that_it_was_let_in_for() -> None:
    engine = an_engine(num_blocks=10)
    ask_together(engine, PROMPT, PROMPT, list(range(50, 61)))
    engine.send()
    assert (len(engine.batcher.running), engine.batcher.num_following) == (1, 1)
    assert engine.batcher.num_waiting == 1, "six blocks, two to grow by, and three are too many"
    engine.run()
    assert all(sequence.num_answer_tokens == 4 for sequence in engine.all)


def test_a_batch_counts_its_followers() -> None:
    engine = an_engine(max_batch_size=2)
    ask_together(engine, PROMPT, PROMPT, [50, 51, 52])
    engine.send()
    assert engine.rows_sent[0] == {1: 11}
    engine.run()
    assert all(sequence.num_answer_tokens == 4 for sequence in engine.all)


def test_another_image_is_not_waited_for() -> None:
    token_ids = [1, 2, 3, 4, *[50] * 4, *range(5, 11)]
    engine = an_engine()
    first, same, other = (
        engine.add(engine.prompt(token_ids, {4: image})) for image in (CAT, CAT, DOG)
    )
    engine.run()
    cached = [sequence.num_cached_tokens for sequence in (first, same, other)]
    assert cached == [0, 12, 4]


def test_a_part_of_a_whole_image_is_not_waited_for() -> None:
    engine = an_engine(has_whole_images=True)
    token_ids = [1, 2, 3, 4, 5, 6, *[50] * 4, 7, 8, 9, 10]
    first = engine.add(engine.prompt(token_ids, {6: CAT}))
    other = engine.add(engine.prompt([*token_ids[:10], 9, 9, 9, 9], {6: CAT}))
    engine.run()
    assert (first.num_cached_tokens, other.num_cached_tokens) == (0, 4)


def test_who_wants_log_probabilities_of_the_prompt_leads_and_does_not_follow() -> None:
    engine = an_engine()
    first = engine.add(engine.prompt(PROMPT), wants_prompt_logprobs=True)
    second = engine.add(engine.prompt(PROMPT), wants_prompt_logprobs=True)
    third = engine.add(engine.prompt(PROMPT))
    engine.run()
    cached = [sequence.num_cached_tokens for sequence in (first, second, third)]
    assert cached == [0, 0, 8]


def test_without_a_prefix_cache_nobody_follows() -> None:
    engine = an_engine(has_prefix_cache=False)
    ask_together(engine, PROMPT, PROMPT)
    engine.send()
    assert engine.rows_sent[0] == {1: 11, 2: 11}


def test_a_few_tokens_are_not_worth_waiting_for() -> None:
    engine = Engine()
    ask_together(engine, [*range(32), 50], [*range(32), 60])
    engine.send()
    assert engine.rows_sent[0] == {1: 33, 2: 33}


def test_a_few_tokens_that_many_share_are_worth_waiting_for() -> None:
    engine = Engine()
    ask_together(engine, *[list(range(33))] * 4)
    engine.send()
    assert engine.rows_sent[0] == {1: 33}
    assert engine.batcher.num_following == 3


def test_what_is_worth_waiting_for_follows_from_what_steps_take() -> None:
    pace = Pace(512)
    assert num_tokens_worth_waiting(pace, 1, "cpu") == 64
    assert num_tokens_worth_waiting(pace, 1, "cuda") == 512
    assert num_tokens_worth_waiting(Unpaced(512), 1, "cpu") == 64
    pace.note(num_decoding=1, num_prefill_tokens=0, seconds=0.08)
    pace.note(num_decoding=0, num_prefill_tokens=100, seconds=0.1)
    assert num_tokens_worth_waiting(pace, 0, "cpu") == 240
    assert num_tokens_worth_waiting(pace, 30, "cpu") == 64, "of such a batch nothing is known"


def test_a_follower_goes_on_when_its_leader_is_cancelled() -> None:
    engine = an_engine(max_batch_prefill_tokens=4)
    leader, *others = ask_together(engine, *[list(range(20))] * 3)
    engine.send()
    engine.batcher.cancel(leader)
    engine.run()
    assert [other.num_answer_tokens for other in others] == [4, 4]
    assert others[1].num_cached_tokens == 16, "the first of them leads now"


def test_a_follower_can_be_cancelled() -> None:
    engine = an_engine()
    leader, follower = ask_together(engine, PROMPT, PROMPT)
    engine.send()
    engine.batcher.cancel(follower)
    assert (follower.state, engine.batcher.num_following) == (State.OUTSIDE, 0)
    engine.run()
    assert (leader.num_answer_tokens, follower.num_answer_tokens) == (4, 0)


def failing_first() -> Callable[[list[int], int], int]:
    """Fails the first row that chooses."""
    faults = [RowFault(pb.RowFailure.KIND_INTERNAL, "nan")]

    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        if faults:
            raise faults.pop()
        return next_token(token_ids, num_prompt_tokens)

    return choose


def test_a_follower_computes_by_itself_what_a_failed_leader_had() -> None:
    engine = an_engine()
    leader, follower, last = ask_together(engine, *[PROMPT] * 3)
    engine.shard.choose = failing_first()
    engine.run()
    assert leader.num_answer_tokens == 0
    assert (follower.num_cached_tokens, follower.num_answer_tokens) == (0, 4)
    assert (last.num_cached_tokens, last.num_answer_tokens) == (8, 4)


def test_a_follower_goes_on_when_its_leader_gives_way() -> None:
    engine = an_engine(num_blocks=41, max_steps_in_flight=12)
    older = ask_together(engine, *([number] for number in range(50, 56)), max_new_tokens=30)
    engine.send()
    for _ in range(12):
        engine.settle()
    leader, follower = ask_together(engine, *[list(range(20))] * 2, max_new_tokens=30)
    engine.send_one()
    assert (engine.batcher.num_following, engine.batcher.counters.num_preemptions) == (1, 0)
    engine.send()
    assert engine.batcher.counters.num_preemptions
    assert leader.state is State.WAITING
    engine.run()
    assert all(sequence.num_answer_tokens == 30 for sequence in (*older, leader, follower))


def test_followers_survive_the_death_of_the_replica() -> None:
    engine = an_engine(max_batch_prefill_tokens=4)
    ask_together(engine, *[PROMPT] * 3)
    engine.step()
    engine.step()
    assert engine.batcher.num_following == 2
    engine.lose()
    assert engine.batcher.num_following == 0
    engine.run()
    assert [sequence.num_answer_tokens for sequence in engine.all] == [4, 4, 4]
    assert [sequence.num_cached_tokens for sequence in engine.all] == [0, 8, 8]


def test_a_follower_that_is_suspected_runs_alone() -> None:
    engine = an_engine(max_batch_prefill_tokens=4, max_steps_in_flight=1)
    engine.add(engine.prompt(list(range(20))))
    suspect = engine.add(engine.prompt(list(range(20))))
    for _ in range(5):
        engine.step()
    suspect = engine.add(engine.prompt(list(range(20))))
    suspect.num_deaths = 2
    engine.run()
    assert all(sequence.num_answer_tokens == 4 for sequence in engine.all)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6)), min_size=1, max_size=8),
    st.integers(3, 9),
)
def test_prompts_that_share_nothing_run_as_if_nobody_ever_waited(
    arriving: list[tuple[int, int]], budget: int
) -> None:
    """The very same steps, to the byte."""

    def steps(min_awaited_tokens: int) -> list[bytes]:
        engine = Engine(
            min_awaited_tokens=min_awaited_tokens, max_batch_prefill_tokens=budget, num_blocks=40
        )
        for number, (num_tokens, num_steps) in enumerate(arriving):
            engine.add(engine.prompt([100 + number, *range(1, num_tokens)]))
            for _ in range(num_steps):
                engine.step()
        engine.run()
        return [step.SerializeToString() for step in engine.sent]

    assert steps(1) == steps(10**9)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 12), st.integers(0, 5)),
        min_size=2,
        max_size=8,
    ),
    st.integers(3, 40),
    st.integers(12, 60),
)
def test_answers_are_those_of_a_router_where_nobody_waits(
    arriving: list[tuple[int, int, int, int]], budget: int, num_blocks: int
) -> None:

    def answers(min_awaited_tokens: int) -> list[list[int]]:
        engine = Engine(
            min_awaited_tokens=min_awaited_tokens,
            max_batch_prefill_tokens=budget,
            num_blocks=num_blocks,
        )
        for number, (family, num_shared, num_own, num_steps) in enumerate(arriving):
            own = [100 + number] * num_own
            engine.add(engine.prompt([family, *range(num_shared), *own]))
            for _ in range(num_steps):
                engine.step()
        engine.run()
        assert all(sequence.num_answer_tokens == 4 for sequence in engine.all)
        return [list(sequence.token_ids) for sequence in engine.all]

    assert answers(1) == answers(10**9)
