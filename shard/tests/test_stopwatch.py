"""Laps add up to what was spent, also while something runs."""

import time

from inlay_shard.machine.stopwatch import Stopwatch


def test_nothing_is_spent_before_it_runs() -> None:
    watch = Stopwatch()
    assert (watch.lap(), watch.nanoseconds) == (0, 0)


def test_laps_add_up_to_what_was_spent() -> None:
    watch, laps = Stopwatch(), []
    begun = time.perf_counter_ns()
    for _ in range(3):
        with watch.running():
            laps += [watch.lap(), watch.lap()]
        laps.append(watch.lap())
    whole = time.perf_counter_ns() - begun
    assert all(lap > 0 for lap in laps)
    assert watch.lap() == 0, "nothing runs any more"
    assert sum(laps) == watch.nanoseconds <= whole


def test_what_fails_took_time_too() -> None:
    watch = Stopwatch()
    try:
        with watch.running():
            raise ValueError
    except ValueError:
        assert watch.lap() > 0
