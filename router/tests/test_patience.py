"""How long a replica may be silent."""

import pytest

from inlay_router.faults.patience import Patience


def test_a_step_may_take_its_time_and_no_more() -> None:
    patience = Patience(10.0)
    patience.sent(100.0)
    assert not patience.is_over(110.0)
    assert patience.is_over(110.5)


def test_nothing_is_overdue_when_nothing_was_sent() -> None:
    patience = Patience(10.0)
    assert not patience.is_over(1e9)
    patience.sent(0.0)
    patience.answered(1.0)
    assert not patience.is_over(1e9)


def test_a_step_waits_for_the_one_before_it() -> None:
    patience = Patience(10.0)
    patience.sent(0.0)
    patience.sent(0.0)
    patience.answered(9.0)
    assert not patience.is_over(19.0)
    assert patience.is_over(200.0)


@pytest.mark.parametrize(("now", "is_over"), [(700.0, False), (801.0, True)])
def test_slow_steps_earn_later_ones_more_time(now: float, is_over: bool) -> None:
    patience = Patience(10.0)
    patience.sent(0.0)
    patience.answered(70.0)
    patience.sent(100.0)
    assert patience.is_over(now) is is_over


def test_what_was_lost_is_not_waited_for() -> None:
    patience = Patience(10.0)
    patience.sent(0.0)
    patience.reset()
    assert not patience.is_over(1e9)
