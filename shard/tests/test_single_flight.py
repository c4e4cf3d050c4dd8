"""Work that several want at the same time, done once."""

import asyncio

import pytest

from inlay_shard.images.single_flight import SingleFlight


class Work:
    """Work that goes on until it is let go, and counts its beginnings."""

    def __init__(self) -> None:
        self.num_begun = 0
        self.may_end = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self) -> int:
        self.num_begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return self.num_begun


def test_all_who_ask_meanwhile_get_the_same() -> None:
    async def scenario() -> None:
        flights: SingleFlight[int] = SingleFlight()
        work = Work()
        asking = [asyncio.create_task(flights.run(b"a", work)) for _ in range(8)]
        await asyncio.sleep(0)
        work.may_end.set()
        assert await asyncio.gather(*asking) == [1] * 8
        assert await flights.run(b"a", work) == 2
        assert len(flights) == 0

    asyncio.run(scenario())


def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    async def scenario() -> None:
        flights: SingleFlight[int] = SingleFlight()
        work = Work()
        first, second = (asyncio.create_task(flights.run(b"a", work)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        work.may_end.set()
        assert await second == 1
        assert first.cancelled()

    asyncio.run(scenario())


def test_when_all_have_left_it_ends_and_can_begin_again() -> None:
    async def scenario() -> None:
        flights: SingleFlight[int] = SingleFlight()
        work = Work()
        asking = asyncio.create_task(flights.run(b"a", work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        again = asyncio.create_task(flights.run(b"a", work))
        with pytest.raises(asyncio.CancelledError):
            await asking
        work.may_end.set()
        assert await again == 2
        assert work.was_cancelled

    asyncio.run(scenario())


def test_a_failure_is_told_to_all() -> None:
    async def fail() -> int:
        raise ValueError("broken")

    async def scenario() -> None:
        flights: SingleFlight[int] = SingleFlight()
        asking = [flights.run(b"a", fail) for _ in range(3)]
        failures = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(failure) for failure in failures] == ["broken"] * 3

    asyncio.run(scenario())
