"""Real shard processes, spoken to by gRPC over Unix sockets."""

import os
import queue
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from driver import BLOCK_SIZE
from local_shard import prepare_request

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import ShardStub
from inlay_shard.images.recipe import Piece


class Stream:
    """A stream of steps to one rank."""

    def __init__(self, stub: Any) -> None:
        self._steps: queue.SimpleQueue[pb.Step | None] = queue.SimpleQueue()
        self.results = stub.Run(iter(self._steps.get, None))

    def send(self, step: pb.Step) -> None:
        """Hand over a step."""
        self._steps.put(step)

    def receive(self) -> pb.StepResult:
        """The next result."""
        result: pb.StepResult = next(self.results)
        return result

    def close(self) -> None:
        """No more steps."""
        self._steps.put(None)


class Rank:
    """One shard process."""

    def __init__(self, folder: Path, address: str, rank: int, num_ranks: int, port: int) -> None:
        self.address = address
        arguments = ["--model", str(folder), "--address", address, "--dtype", "float32"]
        arguments += ["--rank", str(rank), "--num-shard", str(num_ranks), "--device", "cpu"]
        arguments += ["--block-size", str(BLOCK_SIZE), "--num-blocks", "256", "--num-threads", "1"]
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "inlay_shard", *arguments, "--exit-with-parent"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **meeting, "RANK": str(rank), "WORLD_SIZE": str(num_ranks)},
        )
        self.lines: list[str] = []
        self._channel = grpc.insecure_channel(address)
        self.stub: Any = ShardStub(self._channel)  # type: ignore[no-untyped-call]

    def wait_until_ready(self) -> None:
        """Read what it says until it is ready, or has ended."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if line.endswith(": ready\n"):
                return
        raise AssertionError("".join(self.lines))

    def stop(self) -> int:
        """Close its standard input, as a parent does that ends; the exit code."""
        self._channel.close()
        assert self.process.stdin is not None and self.process.stderr is not None
        self.process.stdin.close()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            self.lines += self.process.stderr
            self.process.stderr.close()


class RemoteShard:
    """All ranks of a replica, driven as one."""

    def __init__(self, ranks: Sequence[Rank]) -> None:
        self.ranks = ranks
        self.facts: pb.ModelFacts = ranks[0].stub.Describe(pb.DescribeRequest())
        self._streams = [Stream(rank.stub) for rank in ranks]

    def prepare(self, pieces: Sequence[Piece]) -> pb.PrepareReply:
        """On every rank; all must answer the same, but for the time that they took."""
        request = prepare_request(pieces)
        replies = [rank.stub.Prepare(request) for rank in self.ranks]
        for one in replies:
            one.ClearField("timings")
        first, *others = replies
        assert all(other == first for other in others)
        reply: pb.PrepareReply = first
        return reply

    def run(self, step: pb.Step) -> pb.StepResult:
        """One step on every rank; the result of rank 0."""
        for stream in self._streams:
            stream.send(step)
        first, *others = (stream.receive() for stream in self._streams)
        assert all(other.step_id == first.step_id for other in others)
        return first

    def close(self) -> None:
        """End the streams of steps."""
        for stream in self._streams:
            stream.close()
            assert list(stream.results) == []


@contextmanager
def start_ranks(folder: Path, sockets: Path, num_ranks: int = 1) -> Iterator[list[Rank]]:
    """Shard processes that are ready, and leave at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    addresses = [f"unix:{sockets}/{rank}.sock" for rank in range(num_ranks)]
    ranks = [Rank(folder, address, n, num_ranks, port) for n, address in enumerate(addresses)]
    try:
        for rank in ranks:
            rank.wait_until_ready()
        yield ranks
    finally:
        for rank in ranks:
            rank.stop()
            print("".join(rank.lines))
