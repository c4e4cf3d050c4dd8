"""The link to shards in other processes: gRPC, one stream of steps to each rank."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TypeVar

import grpc
import grpc.aio

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import ShardStub
from inlay_proto.transport import TlsFiles
from inlay_router.links.channels import Channels
from inlay_router.links.link import LinkLost, LinkRefused, PreparationRefused
from inlay_router.links.peers import end_listener, has_listener
from inlay_router.links.run import Run, RunOver

_T = TypeVar("_T")

_FAULTS = (RunOver, grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError)
_POLL_SECONDS_MIN = 0.02
_POLL_SECONDS_MAX = 1.0
_LOOK_SECONDS = 5.0
"""Between two looks for other certificates, while shards are waited for."""
_HEALTH_SECONDS = 5.0
"""An answer to Health that takes longer counts as none."""
_EQUAL_FACTS = ("model_id", "dtype", "num_blocks", "block_size", "vocab_size", "tokenizer_json")


class RemoteLink:
    """A replica whose rank i listens at `addresses[i]`: `unix:/path` or `host:port`."""

    def __init__(self, addresses: Sequence[str], tls: TlsFiles | None = None) -> None:
        """With `tls`, each end proves to the other who it is. Raises TransportRefused."""
        self._addresses = tuple(addresses)
        self._channels = Channels(addresses, tls)
        self._runs: list[Run] = []

    async def connect(self) -> pb.ModelFacts:
        """See Link. Raises LinkLost when the ranks do not belong together."""
        self._end_runs()
        await self._until_ready()
        try:
            describing = (stub.Describe(pb.DescribeRequest()) for stub in self._channels.stubs)
            facts: list[pb.ModelFacts] = await asyncio.gather(*describing)
        except grpc.aio.AioRpcError as error:
            raise LinkLost(_words(error)) from error
        self._check_agreement(facts)
        await self._open_all()
        return facts[0]

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """See Link."""
        if not self._channels.stubs:
            raise LinkLost("not connected")
        try:
            preparing = (stub.Prepare(request) for stub in self._channels.stubs)
            replies: list[pb.PrepareReply] = await asyncio.gather(*preparing)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise PreparationRefused(_words(error)) from error
            raise LinkLost(_words(error)) from error
        if any(reply.features_key != replies[0].features_key for reply in replies):
            raise LinkLost("the ranks prepared different features")
        return replies[0]

    async def send(self, step: pb.Step) -> None:
        """See Link."""
        runs = self._open_runs()
        try:
            await _all([run.write(step) for run in runs])
        except _FAULTS as fault:
            raise await _loss(runs, fault) from fault

    async def receive(self) -> pb.StepResult:
        """See Link. Rank 0 speaks for all, but a row that fails on any rank has failed."""
        runs = self._open_runs()
        try:
            first, *others = await _all([run.read() for run in runs])
        except _FAULTS as fault:
            raise await _loss(runs, fault) from fault
        for other in others:
            if other.step_id != first.step_id:
                raise LinkLost(f"a rank did not finish step {first.step_id}")
            first.failures.extend(other.failures)
        return first

    async def is_alive(self, *, within: float) -> bool:
        """See Link. True where the connection itself is lost, which `receive` tells."""
        try:
            stubs = self._channels.stubs  # none before `connect`
            ranks = zip(self._addresses, stubs, strict=False)
            await asyncio.gather(*(_ask(stub, address, within) for address, stub in ranks))
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
        return True

    async def end(self) -> None:
        """See Link: ranks on this machine are killed, others are left to their own watch."""
        for address in self._addresses:
            end_listener(address)

    async def close(self) -> None:
        """See Link."""
        self._end_runs()
        await self._channels.close()

    async def _until_ready(self) -> None:
        """Ask all ranks until they can run steps; never gives up."""
        while True:
            await self._channels.open()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await asyncio.gather(*(_ready(stub) for stub in self._channels.stubs))
                    return

    async def _open_all(self) -> None:
        """Open the stream of every rank, one after the other: of two routers that try at a time,
        the one that has rank 0 gets the others too. Raises LinkRefused."""
        for stub, address in zip(self._channels.stubs, self._addresses, strict=True):
            run = Run(stub, address)
            self._runs.append(run)
            try:
                if await run.open():
                    continue
                fault = RunOver("a shard ended the stream of steps")
            except RunOver as over:
                fault = over
            loss = await _loss([run], fault)
            self._end_runs()
            raise loss

    def _open_runs(self) -> list[Run]:
        if not self._runs:
            raise LinkLost("not connected")
        return self._runs

    def _end_runs(self) -> None:
        runs, self._runs = self._runs, []
        for run in runs:
            run.end()

    def _check_agreement(self, facts: Sequence[pb.ModelFacts]) -> None:
        for rank, own in enumerate(facts):
            if (own.rank, own.num_shards) != (rank, len(facts)):
                raise LinkLost(
                    f"{self._addresses[rank]} is rank {own.rank} of {own.num_shards},"
                    f" not rank {rank} of {len(facts)}"
                )
            for name in _EQUAL_FACTS:
                if getattr(own, name) != getattr(facts[0], name):
                    raise LinkLost(f"ranks 0 and {rank} differ in {name}")


async def _ready(stub: ShardStub) -> None:
    """Ask until the shard says that it can run steps; never gives up."""
    pause = _POLL_SECONDS_MIN
    while True:
        try:
            health = stub.Health(pb.HealthRequest(), timeout=_HEALTH_SECONDS, wait_for_ready=True)
            if (await health).is_ready:
                return
        except grpc.aio.AioRpcError:
            pass  # it is not there yet
        await asyncio.sleep(pause)
        pause = min(pause * 2, _POLL_SECONDS_MAX)


async def _ask(stub: ShardStub, address: str, within: float) -> None:
    """Wait for a sign of life; where nobody listens, which is no hang, there is none at once."""
    is_there = has_listener(address)
    await stub.Health(pb.HealthRequest(), timeout=within, wait_for_ready=is_there)


async def _all(calls: Sequence[Awaitable[_T]]) -> list[_T]:
    """What all ranks answer, without a task when there is only one."""
    return [await calls[0]] if len(calls) == 1 else list(await asyncio.gather(*calls))


async def _loss(runs: Sequence[Run], fault: BaseException) -> LinkLost:
    """What became of the streams, in the words of the first that is over."""
    for run in runs:
        if (fate := await run.fate()) is not None:
            is_refusal, words = fate
            return (LinkRefused if is_refusal else LinkLost)(words)
    return LinkLost(str(fault))


def _words(error: grpc.aio.AioRpcError) -> str:
    return error.details() or error.code().name
