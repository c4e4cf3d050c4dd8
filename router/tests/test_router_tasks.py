"""Several things at once."""

import asyncio

import pytest

from inlay_router.tasks import together


async def give(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_results_stand_in_order() -> None:
    assert asyncio.run(together(give(n) for n in range(5))) == [0, 1, 2, 3, 4]


def test_the_first_error_is_raised_as_it_is_and_the_others_are_cancelled() -> None:
    left = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(together([wait(), fail(), wait()]))
    assert left == [True, True]
