"""Steps and results through a socket file, past gRPC."""

import asyncio
import os
import stat
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from listening_shard import Context, ListeningShard, listening

from inlay_proto import generate_pb2 as pb
from inlay_proto.step_pipe import Pipe, connect, offering, pipe_path
from inlay_router.links.link import LinkLost, LinkRefused
from inlay_router.links.remote import RemoteLink


class PipingShard(ListeningShard):
    """Answers each step with its number, and says by which way it came."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self.ways: list[str] = []
        self.pipes: list[Pipe] = []

    async def results(
        self, steps: AsyncIterator[pb.Step], context: Context
    ) -> AsyncGenerator[pb.StepResult, None]:
        """See ListeningShard."""
        async with offering(self._address, self._take) as metadata:
            await context.send_initial_metadata(metadata)
            async for step in steps:
                self.ways.append("grpc")
                yield pb.StepResult(step_id=step.step_id)

    def _take(self, pipe: Pipe, message: bytes) -> None:
        self.ways.append("pipe")
        self.pipes.append(pipe)
        step_id = pb.Step.FromString(message).step_id
        pipe.send(pb.StepResult(step_id=step_id).SerializeToString())


@asynccontextmanager
async def served(address: str, shard: PipingShard) -> AsyncIterator[RemoteLink]:
    """A link to the shard at this address."""
    async with listening(shard, address):
        link = RemoteLink([address])
        try:
            yield link
        finally:
            await link.close()


def test_steps_go_through_the_pipe_and_results_come_back_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        address = f"unix:{tmp_path}/0.sock"
        shard = PipingShard(address)
        async with served(address, shard) as link:
            await link.connect()
            for step_id in (1, 2, 3):
                await link.send(pb.Step(step_id=step_id))
            assert [(await link.receive()).step_id for _ in range(3)] == [1, 2, 3]
            large = pb.Step(step_id=4, leaving_ids=range(1 << 40, (1 << 40) + 1_000_000))
            await link.send(large)
            assert (await link.receive()).step_id == 4
        assert shard.ways == ["pipe"] * 4

    asyncio.run(main())


def test_where_no_file_can_be_listened_at_steps_go_over_grpc(tmp_path: Path) -> None:
    async def main() -> None:
        room = 107 - len(str(tmp_path)) - len("/.sock")
        address = f"unix:{tmp_path}/{'a' * room}.sock"  # as long as the system allows
        shard = PipingShard(address)
        async with served(address, shard) as link:
            await link.connect()
            await link.send(pb.Step(step_id=1))
            assert (await link.receive()).step_id == 1
        assert shard.ways == ["grpc"]

    asyncio.run(main())


def test_a_pipe_that_closes_loses_the_link_which_can_be_connected_again(tmp_path: Path) -> None:
    async def main() -> None:
        address = f"unix:{tmp_path}/0.sock"
        shard = PipingShard(address)
        async with served(address, shard) as link:
            await link.connect()
            await link.send(pb.Step(step_id=1))
            await link.receive()
            waiting = asyncio.create_task(link.receive())
            await asyncio.sleep(0)
            shard.pipes[0].close()
            with pytest.raises(LinkLost, match="closed its pipe"):
                await waiting
            with pytest.raises(LinkLost, match="closed its pipe"):
                await link.send(pb.Step(step_id=2))
            while True:  # the shard notices a moment later that the first stream is over
                try:
                    await link.connect()
                    break
                except LinkRefused:
                    pass
            await link.send(pb.Step(step_id=1))
            assert (await link.receive()).step_id == 1

    asyncio.run(main())


def test_a_second_router_gets_neither_stream_nor_pipe(tmp_path: Path) -> None:
    async def main() -> None:
        address = f"unix:{tmp_path}/0.sock"
        async with served(address, PipingShard(address)) as link:
            await link.connect()
            other = RemoteLink([address])
            with pytest.raises(LinkRefused, match="another stream is open"):
                await other.connect()
            await other.close()
            with pytest.raises(OSError):
                await connect(address, lambda _pipe, _message: None)
            await link.send(pb.Step(step_id=1))
            assert (await link.receive()).step_id == 1

    asyncio.run(main())


def test_the_file_is_for_its_user_alone_replaces_an_older_one_and_goes(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/0.sock"
    path = Path(pipe_path(address) or "")
    path.write_text("left behind")

    async def main() -> int:
        async with offering(address, lambda _pipe, _message: None) as metadata:
            assert metadata
            return os.stat(path).st_mode

    mode = asyncio.run(main())
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    assert not path.exists()


@pytest.mark.parametrize("num_bytes", [1, 3, 5, 1000])
def test_messages_are_whole_however_they_arrive(num_bytes: int) -> None:
    taken: list[bytes] = []
    pipe = Pipe(lambda _pipe, message: taken.append(message))
    messages = [b"", b"a", b"b" * 300, b"c"]
    wire = b"".join(struct.pack("<I", len(message)) + message for message in messages)
    for start in range(0, len(wire), num_bytes):
        pipe.data_received(wire[start : start + num_bytes])
    assert taken == messages


def test_nothing_is_taken_from_a_pipe_that_was_closed_by_a_message_before() -> None:
    taken: list[bytes] = []

    def take(pipe: Pipe, message: bytes) -> None:
        taken.append(message)
        pipe.close()

    Pipe(take).data_received(2 * (struct.pack("<I", 1) + b"a"))
    assert taken == [b"a"]
