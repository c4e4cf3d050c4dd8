"""Permits come back, whatever happens, and nobody holds those that are others' due."""

import itertools
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlay_router.doors.permits import Permits
from inlay_router.errors import Overloaded


def test_permits_come_back() -> None:
    permits = Permits(3)
    with pytest.raises(ZeroDivisionError), permits.take(), permits.take(2):
        assert repr(permits) == "Permits(3 of 3 taken)"
        raise ZeroDivisionError
    assert repr(permits) == "Permits(0 of 3 taken)"


def test_one_too_many_is_refused_and_takes_nothing() -> None:
    permits = Permits(2)
    with permits.take(), pytest.raises(Overloaded, match="Model is overloaded"), permits.take(2):
        pass
    assert repr(permits) == "Permits(0 of 2 taken)"


def test_none_can_always_be_had() -> None:
    permits = Permits(0)
    with permits.take(0):
        pass


def taken(permits: Permits, held: ExitStack, client_id: str, num_wanted: int = 1) -> bool:
    try:
        held.enter_context(permits.take(num_wanted, client_id))
    except Overloaded:
        return False
    return True


def test_one_client_alone_may_hold_all_and_no_more() -> None:
    permits = Permits(16)
    with ExitStack() as held:
        assert [taken(permits, held, "greedy") for _ in range(18)] == [True] * 16 + [False] * 2
    assert repr(permits) == "Permits(0 of 16 taken)"


def test_a_client_with_one_request_is_not_shut_out_by_one_with_all_permits() -> None:
    permits = Permits(16)
    with ExitStack() as greedy, ExitStack() as modest:
        assert taken(permits, greedy, "greedy", 16)
        assert taken(permits, modest, "modest")
        assert not taken(permits, greedy, "greedy")
        assert taken(permits, modest, "modest")
        assert taken(permits, modest, "modest")
        assert not taken(permits, modest, "modest"), "the reserve is used up"


def test_shares_become_equal_as_requests_end() -> None:
    permits = Permits(16)
    with ExitStack() as rest:
        first = [permits.take(1, "first") for _ in range(16)]
        for one in first:
            one.__enter__()
        num_second = 0
        for one in first:
            one.__exit__(None, None, None)
            num_second += taken(permits, rest, "second")
            taken(permits, rest, "first")
        assert 8 <= num_second <= 10


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=80))
def test_never_more_than_there_are(wants: list[tuple[str, int]]) -> None:
    permits = Permits(9)
    with ExitStack() as held:
        num_taken = sum(
            num_wanted * taken(permits, held, client_id, num_wanted)
            for client_id, num_wanted in wants
        )
        assert num_taken <= permits.num_permits_max
    assert repr(permits) == "Permits(0 of 9 taken)"
    assert not permits._num_taken


def test_when_to_try_again() -> None:
    times = itertools.chain([0.0], (float(ten) for ten in range(10, 50, 4)), itertools.repeat(46.0))
    permits = Permits(16, clock=lambda: next(times))
    assert permits.retry_seconds == 1
    for _ in range(10):
        with permits.take(2):
            pass
    assert permits.retry_seconds == 15  # 20 ends in 36 s; until 8 more
