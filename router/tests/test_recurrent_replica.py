"""Replicas that keep states of sequences: nothing is reused, and no more run than they can hold."""

from scripted_engine import Engine

PROMPT = list(range(11))


def test_equal_prompts_are_all_computed() -> None:
    engine = Engine(max_sequences=8, min_awaited_tokens=1)
    sequences = [engine.add(engine.prompt(PROMPT)) for _ in range(3)]
    engine.run()
    again = engine.add(engine.prompt(PROMPT))
    engine.run()
    assert [sequence.num_cached_tokens for sequence in (*sequences, again)] == [0, 0, 0, 0]
    assert engine.shard.num_computed_tokens == 4 * (11 + 3)
    assert engine.batcher.pool.num_idle == 0, "no block can be found again"
    assert engine.rows_sent[0] == {1: 11, 2: 11, 3: 11}, "nobody waits for another"


def test_no_more_run_than_there_are_states_for() -> None:
    engine = Engine(max_sequences=2)
    for first in (10, 30, 50):
        engine.add(engine.prompt([first, first + 1, first + 2]))
    engine.send()
    assert (len(engine.batcher.running), engine.batcher.num_waiting) == (2, 1)
    engine.run()
    assert all(sequence.num_answer_tokens == 4 for sequence in engine.all)


def test_who_gives_way_is_computed_from_the_first_token() -> None:
    engine = Engine(max_sequences=8, num_blocks=8)
    for first in (10, 30, 50):
        engine.add(engine.prompt([*range(first, first + 7)]), max_new_tokens=8)
    engine.run()
    assert engine.batcher.counters.num_preemptions > 0
    assert all(sequence.num_answer_tokens == 8 for sequence in engine.all)
    joined = [message for step in engine.sent for message in step.joining]
    assert len(joined) > 3 and all(message.num_cached_tokens == 0 for message in joined)
