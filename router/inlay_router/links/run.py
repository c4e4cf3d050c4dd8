"""The stream of steps to one rank: gRPC's, with a pipe of its own for messages on this machine."""

import asyncio
from collections import deque
from typing import TypeAlias

import grpc
import grpc.aio

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import ShardStub
from inlay_proto.step_pipe import OFFER, Pipe, connect

_Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.Step, pb.StepResult]"


class RunOver(Exception):
    """Nothing can be sent or received any more; the words say what is known."""


class Run:
    """Opened, refused and ended over gRPC, as are messages where the rank offers no pipe."""

    def __init__(self, stub: ShardStub, address: str) -> None:
        self._call: _Call = stub.Run()
        self._address = address
        self._pipe: Pipe | None = None
        self._results: deque[bytes] = deque()  # that came through the pipe
        self._reader: asyncio.Future[None] | None = None

    async def open(self) -> bool:
        """Whether the rank takes steps. Raises RunOver when the pipe that it offers is not there.

        A rank sends metadata when it is ours, or with its refusal.
        """
        metadata = await self._call.initial_metadata()
        if self._call.done():
            return False
        if OFFER in metadata:
            try:
                self._pipe = await connect(self._address, self._take)
            except OSError as error:
                raise RunOver(f"the shard's pipe for steps: {error}") from error
            self._pipe.call_at_end(self._wake)
        return True

    async def write(self, step: pb.Step) -> None:
        """Raises RunOver, or what gRPC raises."""
        if self._pipe is None:
            await self._call.write(step)
        elif self._pipe.is_over:
            raise RunOver("the shard closed its pipe for steps")
        else:
            self._pipe.send(step.SerializeToString())

    async def read(self) -> pb.StepResult:
        """The next result. Raises RunOver, or what gRPC raises."""
        if self._pipe is not None:
            return pb.StepResult.FromString(await self._next(self._pipe))
        result = await self._call.read()
        if not isinstance(result, pb.StepResult):
            raise RunOver("a shard ended the stream of steps")
        return result

    async def _next(self, pipe: Pipe) -> bytes:
        while not self._results:
            if pipe.is_over:
                raise RunOver("the shard closed its pipe for steps")
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._results.popleft()

    def _take(self, _pipe: Pipe, message: bytes) -> None:
        self._results.append(message)
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def fate(self) -> tuple[bool, str] | None:
        """What became of it: whether the rank refused it, and its words; None while it is open."""
        if not self._call.done():
            return None
        is_refusal = await self._call.code() is grpc.StatusCode.FAILED_PRECONDITION
        return is_refusal, await self._call.details()

    def end(self) -> None:
        """Free the rank for another stream."""
        self._call.cancel()
        if self._pipe is not None:
            self._pipe.close()
