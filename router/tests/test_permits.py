"""Permits come back, whatever happens."""

import pytest

from inlay_router.errors import Overloaded
from inlay_router.permits import Permits


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
