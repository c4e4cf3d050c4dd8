"""Who is on the replica beside whom."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from inlay_router.faults.seclusion import Seclusion


@dataclass
class Replica:
    """What Generation knows."""

    num_steps: int = 0
    has_suspects: bool = False
    num_changes: int = 0

    def __post_init__(self) -> None:
        self.seclusion = Seclusion(
            num_steps=lambda: self.num_steps,
            has_suspects=lambda: self.has_suspects,
            on_change=self.note_change,
        )

    def note_change(self) -> None:
        self.num_changes += 1


class Visit:
    """A preparation that stays until it is told to leave."""

    def __init__(self, turn: AbstractAsyncContextManager[None]) -> None:
        self.is_in = False
        self._leaving = asyncio.Event()
        self._task = asyncio.create_task(self._stay(turn))

    async def _stay(self, turn: AbstractAsyncContextManager[None]) -> None:
        async with turn:
            self.is_in = True
            await self._leaving.wait()
        self.is_in = False

    async def leave(self) -> None:
        self._leaving.set()
        await self._task


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_preparations_run_beside_each_other_and_beside_steps() -> None:
    async def main() -> None:
        replica = Replica(num_steps=2)
        visits = [Visit(replica.seclusion.beside_others()) for _ in range(3)]
        await settle()
        assert all(visit.is_in for visit in visits)
        assert replica.seclusion.admits_steps
        for visit in visits:
            await visit.leave()
        assert replica.num_changes == 3

    asyncio.run(main())


def test_a_suspected_preparation_waits_until_it_is_alone() -> None:
    async def main() -> None:
        replica = Replica(num_steps=2)
        other = Visit(replica.seclusion.beside_others())
        await settle()
        suspect = Visit(replica.seclusion.alone())
        await settle()
        assert not replica.seclusion.admits_steps
        late = Visit(replica.seclusion.beside_others())
        await other.leave()
        await settle()
        assert not suspect.is_in, "steps are in flight"
        replica.num_steps = 0
        replica.seclusion.ring()
        await settle()
        assert suspect.is_in
        assert not late.is_in
        await suspect.leave()
        await settle()
        assert replica.seclusion.admits_steps
        assert late.is_in
        await late.leave()

    asyncio.run(main())


def test_one_suspect_after_the_other() -> None:
    async def main() -> None:
        replica = Replica()
        suspects = [Visit(replica.seclusion.alone()) for _ in range(3)]
        for _ in range(3):
            await settle()
            assert [suspect.is_in for suspect in suspects].count(True) == 1
            await next(suspect for suspect in suspects if suspect.is_in).leave()

    asyncio.run(main())


def test_lonely_steps_wait_for_preparations_and_keep_new_ones_away() -> None:
    async def main() -> None:
        replica = Replica()
        before = Visit(replica.seclusion.beside_others())
        await settle()
        replica.has_suspects = True
        assert not replica.seclusion.admits_steps
        after = Visit(replica.seclusion.beside_others())
        await before.leave()
        assert replica.seclusion.admits_steps
        await settle()
        assert not after.is_in
        replica.has_suspects = False
        replica.seclusion.ring()
        await settle()
        assert after.is_in
        await after.leave()

    asyncio.run(main())


def test_nobody_waits_once_it_is_closed() -> None:
    async def main() -> None:
        replica = Replica(has_suspects=True, num_steps=1)
        waiting = [Visit(replica.seclusion.beside_others()), Visit(replica.seclusion.alone())]
        await settle()
        replica.seclusion.close()
        for visit in waiting:
            await visit.leave()

    asyncio.run(main())


def test_who_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    async def main() -> None:
        replica = Replica(num_steps=1)
        task = asyncio.create_task(replica.seclusion.alone().__aenter__())
        await settle()
        assert not replica.seclusion.admits_steps
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert replica.seclusion.admits_steps

    asyncio.run(main())
