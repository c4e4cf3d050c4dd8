"""A link for tests: a shard without a model, whose tokens, pauses and faults a test decides."""

import asyncio
from collections import deque

from inlay_proto import generate_pb2 as pb
from inlay_router.links.link import LinkLost, LinkRefused
from inlay_router.links.scripted_shard import ScriptedShard, scripted_facts

__all__ = ["ScriptedLink", "ScriptedShard", "scripted_facts"]


class ScriptedLink:
    """A Link to a ScriptedShard. A step runs when its result is asked for."""

    def __init__(self, shard: ScriptedShard | None = None) -> None:
        self.shard = shard or ScriptedShard()
        self.steps: list[pb.Step] = []
        """Every step that was sent, over all connections."""
        self.num_connects = 0
        self.num_ends = 0
        """Times that the router took it for hung."""
        self.answers_health = True
        self.num_refusals = 0
        """Connections whose stream of steps will be refused."""
        self._in_flight: deque[pb.Step] = deque()
        self._is_open = False
        self._is_up = True
        self._is_paused = False
        self._is_refusing = False
        self._changed = asyncio.Condition()

    async def pause(self) -> None:
        """Give no result until `resume`."""
        await self._set(is_paused=True)

    async def resume(self) -> None:
        """Give results again."""
        await self._set(is_paused=False)

    async def die(self) -> None:
        """Lose the link and all that the shard held, and refuse connections until `revive`."""
        self.shard.die()
        await self._set(is_open=False, is_up=False)

    async def revive(self) -> None:
        """Accept connections again."""
        await self._set(is_up=True)

    async def restart(self) -> None:
        """Die and be there again at once."""
        await self.die()
        await self.revive()

    async def connect(self) -> pb.ModelFacts:
        """See Link; waits for `revive` after `die`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_up)
        self.shard.open()
        self._in_flight.clear()
        self._is_open = True
        self._is_refusing = self.num_refusals > 0
        self.num_refusals -= self._is_refusing
        self.num_connects += 1
        return self.shard.facts

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """See Link."""
        self._check_open()
        return self.shard.prepare(request)

    async def send(self, step: pb.Step) -> None:
        """See Link."""
        self._check_open()
        self.steps.append(step)
        self._in_flight.append(step)
        await self._set()

    async def receive(self) -> pb.StepResult:
        """See Link; a shard that raises LinkLost in a step dies of it."""
        async with self._changed:
            await self._changed.wait_for(self._has_news)
        self._check_open()
        if self._is_refusing:
            raise LinkRefused("another stream of steps is open")
        try:
            return self.shard.run(self._in_flight.popleft())
        except LinkLost:
            self.shard.die()
            self._is_open = False
            raise

    async def is_alive(self, *, within: float) -> bool:
        """See Link; a test may say that it is not."""
        return self.answers_health

    async def end(self) -> None:
        """See Link: it is there again at once."""
        self.num_ends += 1
        self.answers_health = True
        await self.restart()

    async def close(self) -> None:
        """See Link."""
        await self._set(is_open=False)

    def _has_news(self) -> bool:
        return not self._is_open or bool(self._in_flight and not self._is_paused)

    def _check_open(self) -> None:
        if not self._is_open:
            raise LinkLost("the scripted shard is away")

    async def _set(
        self,
        *,
        is_open: bool | None = None,
        is_up: bool | None = None,
        is_paused: bool | None = None,
    ) -> None:
        async with self._changed:
            self._is_open = self._is_open if is_open is None else is_open
            self._is_up = self._is_up if is_up is None else is_up
            self._is_paused = self._is_paused if is_paused is None else is_paused
            self._changed.notify_all()
