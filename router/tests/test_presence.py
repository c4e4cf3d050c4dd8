"""Whether the replica is there."""

import asyncio

import pytest

from inlay_router.errors import IncompleteGeneration
from inlay_router.faults.presence import Presence


def test_it_comes_and_goes() -> None:
    async def main() -> None:
        presence = Presence()
        coming = asyncio.create_task(presence.until_here())
        await asyncio.sleep(0)
        assert not coming.done()
        presence.come()
        await coming
        assert presence.is_here
        going = asyncio.create_task(presence.until_noticed())
        await asyncio.sleep(0)
        assert not going.done()
        presence.go()
        await going
        assert repr(presence) == "Presence(away)"

    asyncio.run(main())


def test_a_loss_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inlay_router.faults.presence.NOTICE_SECONDS", 0.001)

    async def main() -> None:
        presence = Presence()
        presence.come()
        await presence.until_noticed()
        assert presence.is_here

    asyncio.run(main())


def test_the_end_wakes_all_who_wait() -> None:
    async def main() -> None:
        presence = Presence()
        waiting = asyncio.create_task(presence.until_here())
        await asyncio.sleep(0)
        presence.end()
        with pytest.raises(IncompleteGeneration):
            await waiting
        await presence.until_noticed()
        assert not presence.is_here

    asyncio.run(main())
