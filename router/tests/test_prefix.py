"""What a sequence finds of those before it; the scripted shard checks what it is given."""

from scripted_engine import BLOCK_SIZE, Engine, next_token

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import State
from inlay_router.links.scripted_shard import RowFault

CAT, DOG = b"cat", b"dog"


def test_the_same_prompt_is_computed_once() -> None:
    engine = Engine()
    first, again = engine.ask(list(range(11))), engine.ask(list(range(11)))
    assert (first.num_cached_tokens, again.num_cached_tokens) == (0, 8)
    assert first.token_ids == again.token_ids
    assert engine.shard.num_computed_tokens == 14 + 6


def test_at_least_one_token_is_computed() -> None:
    engine = Engine()
    engine.ask(list(range(12)))
    assert engine.ask(list(range(12))).num_cached_tokens == 8


def test_another_prompt_shares_what_it_begins_with() -> None:
    engine = Engine()
    engine.ask(list(range(16)))
    assert engine.ask([*range(9), 77, 78, 79]).num_cached_tokens == 8
    assert engine.ask([77, *range(1, 16)]).num_cached_tokens == 0


def test_the_next_turn_of_a_chat_finds_the_answer_too() -> None:
    engine = Engine()
    first = engine.ask(list(range(10)))
    second = engine.ask([*first.token_ids, 1, 2])
    assert second.num_cached_tokens == 12, "the last token of an answer was never computed"


def test_the_same_image_is_found_in_another_prompt_and_another_image_is_not() -> None:
    engine = Engine()
    token_ids = [1, 2, 3, 4, *[50] * 4, 5, 6, 7, 8, 9]
    engine.ask(token_ids, {4: CAT})
    assert engine.ask(token_ids, {4: DOG}).num_cached_tokens == 4
    assert engine.ask([*token_ids[:8], 9, 9], {4: CAT}).num_cached_tokens == 8
    assert engine.ask(token_ids, {4: DOG}).num_cached_tokens == 12


def test_features_may_be_gone_when_the_images_are_cached() -> None:
    engine = Engine()
    token_ids = [*[50] * 4, *range(8)]
    engine.ask(token_ids, {0: CAT})
    prompt = engine.prompt(token_ids, {0: CAT})
    engine.shard.features.clear()
    sequence = engine.add(prompt)
    engine.run()
    assert sequence.num_answer_tokens == 4


def test_nothing_is_found_before_the_shard_has_confirmed_it() -> None:
    engine = Engine()
    engine.add(engine.prompt(list(range(11))))
    engine.send()
    early = engine.add(engine.prompt(list(range(11))))
    engine.settle()
    engine.send()
    assert early.num_cached_tokens == 8, "it joined after the result was back"
    engine.run()

    engine = Engine(max_steps_in_flight=3)
    engine.add(engine.prompt(list(range(11))))
    engine.in_flight.append(engine.batcher.next_step() or pb.Step())
    early = engine.add(engine.prompt(list(range(11))))
    engine.run()
    assert (early.num_cached_tokens, early.num_answer_tokens) == (0, 4)


def test_running_sequences_share_their_blocks() -> None:
    engine = Engine()
    long = engine.add(engine.prompt(list(range(9))), max_new_tokens=20)
    engine.send()
    engine.settle()
    others = [engine.add(engine.prompt([*range(8), 70 + n])) for n in range(3)]
    engine.send()
    assert all(other.block_ids[:2] == long.block_ids[:2] for other in others)
    assert engine.batcher.pool.num_used == 3 + 3
    engine.run()
    assert all(other.num_answer_tokens == 4 for other in others)
    assert engine.batcher.pool.num_used == 0


def test_prompt_logprobs_need_the_whole_prompt_computed() -> None:
    engine = Engine()
    engine.ask(list(range(11)))
    sequence = engine.add(engine.prompt(list(range(11))), wants_prompt_logprobs=True)
    engine.run()
    assert sequence.num_cached_tokens == 0


def test_it_can_be_switched_off() -> None:
    engine = Engine(has_prefix_cache=False)
    engine.ask(list(range(11)))
    assert engine.ask(list(range(11))).num_cached_tokens == 0
    assert engine.batcher.pool.num_idle == 0


def test_a_replica_that_comes_back_knows_nothing() -> None:
    engine = Engine()
    engine.ask(list(range(11)))
    engine.shard.open()
    engine.batcher.reset(Replica.of(engine.shard.facts))
    assert engine.ask(list(range(11))).num_cached_tokens == 0
    assert engine.ask(list(range(11))).num_cached_tokens == 8


def test_what_a_failed_sequence_computed_is_not_trusted() -> None:
    engine = Engine()
    engine.ask(list(range(11)))

    def fail(token_ids: list[int], num_prompt_tokens: int) -> int:
        raise RowFault(pb.RowFailure.KIND_INTERNAL, "nan")

    engine.shard.choose = fail
    failing = engine.add(engine.prompt(list(range(11))))
    engine.run()
    assert (failing.state, failing.num_cached_tokens) == (State.OUTSIDE, 8)
    engine.shard.choose = next_token
    assert engine.ask(list(range(11))).num_cached_tokens == 0


def computed_with_a_preemption(*, has_prefix_cache: bool) -> int:
    """Tokens that two sequences took, of which the older outgrew the pool."""
    engine = Engine(num_blocks=9, max_steps_in_flight=1, has_prefix_cache=has_prefix_cache)
    older = engine.add(engine.prompt(list(range(13))), max_new_tokens=17)
    younger = engine.add(engine.prompt(list(range(50, 63))), max_new_tokens=12)
    engine.run()
    assert engine.batcher.counters.num_preemptions == 1
    assert (older.num_answer_tokens, younger.num_answer_tokens) == (17, 12)
    assert younger.num_cached_tokens == 0, "of its prompt, when it joined first"
    return engine.shard.num_computed_tokens


def test_a_preempted_sequence_finds_what_is_left_of_its_blocks() -> None:
    anew = computed_with_a_preemption(has_prefix_cache=False)
    assert computed_with_a_preemption(has_prefix_cache=True) == anew - BLOCK_SIZE


def test_whole_images_are_found_whole_or_not_at_all() -> None:
    engine = Engine(has_whole_images=True)
    token_ids = [1, 2, 3, 4, 5, 6, *[50] * 4, 7, 8, 9, 10]
    engine.ask(token_ids, {6: CAT})
    assert engine.ask([*token_ids[:10], 9, 9, 9, 9], {6: CAT}).num_cached_tokens == 4
    assert engine.ask(token_ids, {6: CAT}).num_cached_tokens == 12


def test_the_counters_tell_what_was_found() -> None:
    engine = Engine()
    for _ in range(3):
        engine.ask(list(range(11)))
    counters = engine.batcher.counters
    assert (counters.num_prompt_tokens, counters.num_cached_tokens) == (33, 16)
