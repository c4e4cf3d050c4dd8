"""How soon places become free."""

from inlay_router.doors.turnover import RETRY_SECONDS_MAX, Turnover


def test_nothing_is_known_at_first() -> None:
    turnover = Turnover()
    assert turnover.seconds_until(1000, 5.0) == 1
    turnover.note(1, 5.0)
    assert turnover.seconds_until(1000, 5.0) == 1


def test_as_fast_as_lately() -> None:
    turnover = Turnover()
    for second in range(100):
        turnover.note(4, float(second))
    assert turnover.seconds_until(40, 99.0) in (10, 11)
    assert turnover.seconds_until(1, 99.0) == 1


def test_silence_counts() -> None:
    turnover = Turnover()
    turnover.note(2, 0.0)
    assert turnover.seconds_until(1, 20.0) == 10
    assert turnover.seconds_until(1, 1e6) == RETRY_SECONDS_MAX
